// A streaming server by Node's own HTTP: `server.mjs DIR TLS_PORT PLAIN_PORT`. HTTP/2 and HTTP/1 over TLS, HTTP/1 plain.
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';

const [dir, tlsPort, plainPort] = process.argv.slice(2);

// Answers differ in length, as a model's do.
let answers = 0;

function answer(request, response) {
  answers += 1;
  const tokens = 30 + ((answers * 31) % 200);
  request.resume();
  request.on('end', () => {
    response.setHeader('content-type', 'text/event-stream');
    let sent = 0;
    const timer = setInterval(() => {
      response.write(`data: {"token": ${sent}}\n\n`);
      sent += 1;
      if (sent === tokens) {
        clearInterval(timer);
        response.end('data: [DONE]\n\n');
      }
    }, 1);
  });
}

const options = { key: fs.readFileSync(`${dir}/nginx-key.pem`), cert: fs.readFileSync(`${dir}/nginx-chain.pem`), allowHTTP1: true };
http2.createSecureServer(options, answer).listen(Number(tlsPort), () => {
  http.createServer(answer).listen(Number(plainPort), () => fs.writeFileSync(`${dir}/server-ready`, ''));
});
