// A client by Node's own HTTP: so many connections, so many requests on each, on so many streams at once, directly or
// through a relay. Reads one JSON argument (see job.rs) and prints how many requests were answered completely.
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';

const job = JSON.parse(process.argv[2]);
const ca = job.tls ? fs.readFileSync(job.ca) : undefined;

const once = (emitter, name) => new Promise((resolve, reject) => {
  emitter.once(name, resolve);
  emitter.once('error', reject);
});

async function readable(socket, bytes) {
  for (;;) {
    const data = socket.read(bytes);
    if (data) return data;
    await once(socket, 'readable');
  }
}

// A TCP connection to the server, in whatever way.
async function reach() {
  if (job.way === 'direct') return net.connect({ host: job.server, port: job.port, localAddress: job.from });
  const raw = net.connect({ host: job.relay, port: job.relay_port, noDelay: true });
  await once(raw, 'connect');
  if (job.way === 'connect') {
    raw.write(`CONNECT ${job.server}:${job.port} HTTP/1.1\r\nHost: ${job.server}:${job.port}\r\n\r\n`);
    let head = '';
    while (!head.endsWith('\r\n\r\n')) head += (await readable(raw, 1)).toString('latin1');
    if (!/^HTTP\/1\.[01] 200/.test(head)) throw new Error(head);
  } else if (job.way === 'socks5') {
    raw.write(Buffer.from([5, 1, 0]));
    await readable(raw, 2);
    raw.write(Buffer.from([5, 1, 0, 1, ...job.server.split('.').map(Number), job.port >> 8, job.port & 255]));
    if ((await readable(raw, 10))[1] !== 0) throw new Error('the relay cannot reach the server');
  }
  return raw;
}

async function open() {
  const socket = await reach();
  if (!job.tls) return socket;
  const secure = tls.connect({ socket, ca, host: job.server, ALPNProtocols: [job.http2 ? 'h2' : 'http/1.1'] });
  await once(secure, 'secureConnect');
  return secure;
}

const body = (number) => JSON.stringify({
  stream: true, max_tokens: 30 + ((number * 31) % 200),
  messages: [{ role: 'user', content: `POST / HTTP/1.1\r\n\r\n${'word '.repeat(20 + (number * 37) % 900)}` }],
});

function overHttp1(agent, number) {
  return new Promise((resolve, reject) => {
    const call = (job.tls ? https : http).request({
      agent, host: job.server, port: job.port, path: job.path, method: job.post ? 'POST' : 'GET',
      headers: job.post ? { 'Content-Type': 'application/json' } : {},
    }, (answer) => {
      let length = 0;
      answer.on('data', (data) => { length += data.length; });
      answer.on('end', () => resolve(answer.statusCode === 200 && length > 0 ? 1 : 0));
    });
    call.on('error', reject);
    call.end(job.post ? body(number) : undefined);
  });
}

function overHttp2(session, number) {
  return new Promise((resolve, reject) => {
    const call = session.request({
      ':path': job.path, ':method': job.post ? 'POST' : 'GET',
      ...(job.post ? { 'content-type': 'application/json' } : {}),
    }, { endStream: !job.post });
    let [status, length] = [0, 0];
    call.on('response', (headers) => { status = headers[':status']; });
    call.on('data', (data) => { length += data.length; });
    call.on('end', () => resolve(status === 200 && length > 0 ? 1 : 0));
    call.on('error', reject);
    if (job.post) call.end(body(number));
  });
}

let done = 0;
for (let n = 0; n < job.connections; n += 1) {
  const socket = await open();
  let next = 0;
  let send;
  let close;
  if (job.http2) {
    const session = http2.connect(`${job.tls ? 'https' : 'http'}://${job.server}:${job.port}`, { createConnection: () => socket });
    send = (number) => overHttp2(session, number);
    close = () => session.close();
  } else {
    const agent = new (job.tls ? https : http).Agent({ keepAlive: true, maxSockets: 1 });
    agent.createConnection = () => socket;
    send = (number) => overHttp1(agent, number);
    close = () => agent.destroy();
  }
  const work = async () => {
    while (next < job.requests) {
      next += 1;
      const answered = await send(next);
      done += answered;
    }
  };
  await Promise.all(Array.from({ length: job.streams }, work));
  close();
}
console.log(done);
