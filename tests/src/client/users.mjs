// Direct users with Node's own HTTPS client. Reads a plan (see plan.rs), runs until SIGTERM, writes one JSON line for
// each request.
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const ca = fs.readFileSync(plan.ca);
const out = fs.openSync(plan.out, 'a');
let stopping = false;
const sleepers = new Set();

function sleep(seconds) {
  return new Promise((resolve) => {
    const sleeper = { resolve, timer: setTimeout(() => { sleepers.delete(sleeper); resolve(); }, seconds * 1000) };
    sleepers.add(sleeper);
  });
}

process.on('SIGTERM', () => {
  stopping = true;
  for (const sleeper of sleepers) {
    clearTimeout(sleeper.timer);
    sleeper.resolve();
  }
});

// Small seeded generator (mulberry32), because Math.random cannot be seeded.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const between = (draw, [low, high]) => low + (high - low) * draw();

function request(group, address, agent, turns) {
  const at = Date.now() / 1000;
  const body = JSON.stringify({
    model: 'lab-1', stream: true, max_tokens: group.max_tokens, user: `benign-${group.kind}`,
    messages: Array(turns).fill({ role: 'user', content: 'How much does a token weigh? '.repeat(4) }),
  });
  return new Promise((resolve) => {
    let settled = false;
    const finish = (error) => {
      if (settled) return;
      settled = true;
      fs.writeSync(out, `${JSON.stringify({
        at, end: Date.now() / 1000, label: 'benign', kind: group.kind, from: address,
        port: group.tls ? plan.tls_port : plan.plain_port, outcome: error ? 'refused' : 'served', error,
      })}\n`);
      resolve(error);
    };
    const call = (group.tls ? https : http).request({
      host: plan.server, servername: plan.name, port: group.tls ? plan.tls_port : plan.plain_port, ca,
      localAddress: address, agent, method: 'POST', path: '/v1/chat/completions', timeout: plan.timeout_s * 1000,
      headers: { host: plan.name, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    }, (answer) => {
      let tail = '';
      answer.on('data', (chunk) => { tail = (tail + chunk).slice(-64); });
      answer.on('end', () => finish(tail.includes('[DONE]') ? null : 'cut'));
      answer.on('error', () => finish('reset'));
    });
    call.on('timeout', () => { finish('timeout'); call.destroy(); });
    call.on('error', (error) => finish(error.code === 'ECONNRESET' ? 'reset' : String(error.code ?? error.message)));
    call.end(body);
  });
}

async function session(group, address, draw) {
  const Agent = group.tls ? https.Agent : http.Agent;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const [low, high] = group.requests;
  const count = low + Math.floor(draw() * (high - low + 1));
  for (let turn = 0; turn < count; turn += 1) {
    if (turn) await sleep(between(draw, group.think_s));
    if (stopping && turn) break;
    if (await request(group, address, agent, turn + 1)) break;
  }
  agent.destroy();
}

async function regular(group, address, draw) {
  await sleep(draw() * group.think_s[1]);
  while (!stopping) {
    await session(group, address, draw);
    if (!stopping) await sleep(between(draw, group.think_s));
  }
}

async function arrivals(group, draw) {
  const sessions = [];
  for (const address of group.addresses) {
    await sleep(-Math.log(1 - draw()) / group.arrivals_per_s);
    if (stopping) break;
    sessions.push(session(group, address, generator(draw() * 4294967296)));
  }
  await Promise.all(sessions);
}

await Promise.all(plan.groups.flatMap((group, number) => {
  const seed = (plan.seed + number * 7919) >>> 0;
  if (group.arrivals_per_s > 0) return [arrivals(group, generator(seed))];
  return group.addresses.map((address, n) => regular(group, address, generator(seed + n * 104729)));
}));
