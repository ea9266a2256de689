// A Socket.IO server as its documentation has it, that answers what the load generator says: `join`, `publish`, `echo`.
//
//     node server.mjs ws|uws [REDIS_PORT]
//
// It says where it listens on stdout. Nothing is tuned but the backlog, as thousands connect at once.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Redis } from "ioredis";
import { createAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";

const [engine, redisPort] = process.argv.slice(2);
const HOST = "127.0.0.1";
const BACKLOG = 4096;

const io = new Server();
if (redisPort) {
  const publisher = new Redis(Number(redisPort), HOST);
  io.adapter(createAdapter(publisher, publisher.duplicate()));
}

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("publish", (room, event, payload, ack) => {
    io.to(room).emit(event, payload);
    ack();
  });
  socket.on("echo", (payload, ack) => ack(payload));
});

const listening = (port) => console.log(`listening on ${HOST}:${port}`);

if (engine === "uws") {
  const uws = createRequire(import.meta.url)("@btc-vision/uwebsockets.js");
  const app = uws.App();
  io.attachApp(app);
  app.listen(HOST, 0, (socket) => {
    if (!socket) throw new Error("uWebSockets.js cannot listen");
    listening(uws.us_socket_local_port(socket));
  });
} else {
  const server = createServer();
  io.attach(server);
  server.listen({ host: HOST, port: 0, backlog: BACKLOG }, () => listening(server.address().port));
}
