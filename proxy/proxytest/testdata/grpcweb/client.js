// Makes calls with the official client of gRPC-Web, and prints what happens as lines of JSON. Messages are bytes in base64: whoever starts it
// knows what they mean. It reads { base, calls: [{ method, format, streams, metadata, message, deadline }] }
// as JSON.
'use strict';
globalThis.XMLHttpRequest = require('xhr2'); // the one thing of a browser that the client needs
const { GrpcWebClientBase, MethodDescriptor, MethodType } = require('grpc-web');

const { base, calls } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const print = (event) => console.log(JSON.stringify(event));
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

function call(c, done) {
  const client = new GrpcWebClientBase({ format: c.format });
  const kind = c.streams ? MethodType.SERVER_STREAMING : MethodType.UNARY;
  const descriptor = new MethodDescriptor(c.method, kind, Object, Object, (m) => new Uint8Array(Buffer.from(m.bytes || '', 'base64')), base64);
  const metadata = Object.assign({}, c.metadata);
  if (c.deadline) metadata.deadline = String(Date.now() + c.deadline);
  const failed = (err) => print({ event: 'error', code: err.code, message: err.message });
  if (!c.streams) {
    const stream = client.rpcCall(base + c.method, { bytes: c.message }, metadata, descriptor, (err, message) => {
      if (err) failed(err);
      else print({ event: 'message', bytes: message });
      print({ event: 'end' });
      done();
    });
    stream.on('metadata', (m) => print({ event: 'metadata', said: m.said }));
    return;
  }
  const stream = client.serverStreaming(base + c.method, { bytes: c.message }, metadata, descriptor);
  let over = false;
  const end = () => {
    if (!over) {
      over = true;
      print({ event: 'end' });
      done();
    }
  };
  stream.on('data', (message) => print({ event: 'message', bytes: message }));
  stream.on('status', (s) => print({ event: 'status', code: s.code }));
  stream.on('error', (err) => { failed(err); end(); });
  stream.on('end', end);
}

const next = () => { if (calls.length > 0) call(calls.shift(), next); };
next();
