import { Backend, Raw } from './backend.mjs';
import { Gateway } from './gateway.mjs';
import { open } from './clients.mjs';
const ends=[]; const t={after:(f)=>ends.push(f)};
const backend = await Backend.start();
const gateway = await Gateway.start({ rest: backend.toml('timeout="2s"') + '[[namespace]]\nname="/"\notherwise="webhook"\n' });
const c = await open(t, gateway.url, { generation: '4.8.4', transport: 'WebSocket only' });
for (const [name, how] of Object.entries({
  'end after': new Raw((r) => { const s=r.socket; r.writeHead(200,{'content-type':'application/json'}); r.end('{"ack":[1]}', () => s.end()); }),
  'destroy after': new Raw((r) => { const s=r.socket; r.writeHead(200,{'content-type':'application/json'}); r.end('{"ack":[1]}', () => s.destroy()); }),
  'later 1ms': new Raw((r) => { const s=r.socket; r.writeHead(200,{'content-type':'application/json'}); r.end('{"ack":[1]}', () => setTimeout(()=>s.destroy(),1)); }),
  'chunked': new Raw((r) => { r.writeHead(200,{'content-type':'application/json'}); r.write('{"ac'); r.write('k":'); r.end('[1]}'); }),
  'close header': new Raw((r) => { r.writeHead(200,{'content-type':'application/json', connection:'close'}); r.end('{"ack":[1]}'); }),
  'no content type': new Raw((r) => { r.writeHead(200); r.end('{"ack":[1]}'); }),
  'bom': new Raw((r) => { r.writeHead(200); r.end('\ufeff{"ack":[1]}'); }),
  '100 continue+200': new Raw((r) => { r.writeContinue(); r.writeHead(200); r.end('{"ack":[1]}'); }),
  'early hints': new Raw((r) => { r.writeEarlyHints({link:'</a>; rel=preload'}); r.writeHead(200); r.end('{"ack":[1]}'); }),
  'dup keys': new Raw((r) => { r.writeHead(200); r.end('{"ack":[2],"ack":[1]}'); }),
  'null ack': new Raw((r) => { r.writeHead(200); r.end('{"ack":null}'); }),
  'null all': new Raw((r) => { r.writeHead(200); r.end('{"ack":[1],"actions":null,"data":null}'); }),
  'php empty arrays': new Raw((r) => { r.writeHead(200); r.end('{"ack":[1],"data":[]}'); }),
  'null': new Raw((r) => { r.writeHead(200); r.end('null'); }),
  'user in event': new Raw((r) => { r.writeHead(200); r.end('{"ack":[1],"user":"x"}'); }),
  'deny in event': new Raw((r) => { r.writeHead(200); r.end('{"ack":[1],"deny":{}}'); }),
  '204 with length': new Raw((r) => { r.writeHead(204); r.end(); }),
  'big header': new Raw((r) => { r.writeHead(200, {'x': 'y'.repeat(10000)}); r.end('{"ack":[1]}'); }),
})) {
  backend.answers.e = how;
  const n = {};
  for (let i=0;i<30;i++) { const a = JSON.stringify(await c.ask('e')); n[a]=(n[a]??0)+1; }
  console.log(name, n);
}
for (const e of ends) e();
await gateway.stop(); await backend.stop();
console.log(gateway.log.split('\n').slice(0,20).join('\n'));
