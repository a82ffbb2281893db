// Runs a Node handler by the AWS Lambda Runtime API. Node 16 and later; no packages.
'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');

const ROOT = '/2018-06-01/runtime/';
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

// The invocation that runs: its id, and what ends it.
let current = null;

function request(method, route, headers, answered) {
  const call = http.request({ host, port, method, path: ROOT + route, headers, agent }, (answer) => {
    const parts = [];
    answer.on('data', (part) => parts.push(part));
    answer.on('end', () => answered(null, answer, Buffer.concat(parts)));
  });
  call.setNoDelay(true);
  call.on('error', answered);
  return call;
}

function send(method, route, body, headers = {}) {
  return new Promise((resolve, reject) => {
    if (body !== null) headers = { 'Content-Type': 'application/json', 'Content-Length': body.length, ...headers };
    request(method, route, headers, (error, answer, text) => {
      if (error) reject(error);
      else resolve({ status: answer.statusCode, headers: answer.headers, body: text });
    }).end(body);
  });
}

// ---- Errors -------------------------------------------------------------------------------------------------------

class Fault extends Error {
  constructor(name, message, cause) {
    super(message);
    this.name = name;
    if (cause && cause.stack) this.stack = cause.stack;
  }
}

function describe(error) {
  if (error !== null && typeof error === 'object' && typeof error.message === 'string') {
    const name = error.name || (error.constructor && error.constructor.name) || 'Error';
    return { errorType: String(name), errorMessage: error.message, trace: String(error.stack || '').split('\n') };
  }
  if (error === undefined || error === null) return { errorType: String(error), errorMessage: String(error), trace: [] };
  return { errorType: typeof error, errorMessage: typeof error === 'string' ? error : JSON.stringify(error), trace: [] };
}

function report(route, error) {
  const described = describe(error);
  console.error('Invoke Error', JSON.stringify({ ...described, trace: undefined, stack: described.trace }));
  const kind = described.errorType.replace(/[^\x20-\x7e]/g, '?');
  return send('POST', route, Buffer.from(JSON.stringify(described)), { 'Lambda-Runtime-Function-Error-Type': kind });
}

function fatal(code) {
  return (error) => {
    const route = current ? `invocation/${current.id}/error` : 'init/error';
    const exit = () => process.exit(code);
    const fault = code === 128 ? new Fault('Runtime.UnhandledPromiseRejection', String(error && error.message || error), error) : error;
    report(route, fault).then(exit, exit);
  };
}

// ---- The console: time, request id and level before each line ---------------------------------------------------------

function patchConsole() {
  const { format } = require('util');
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...values) => {
      const id = current ? current.id : 'undefined';
      process.stdout.write(`${new Date().toISOString()}\t${id}\t${level}\t${format(...values)}\n`);
    };
  }
}

// ---- The handler -----------------------------------------------------------------------------------------------------

function isModulePackage(file) {
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const described = path.join(folder, 'package.json');
    if (fs.existsSync(described)) {
      try {
        return JSON.parse(fs.readFileSync(described, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (folder === path.dirname(folder)) return false;
  }
}

function importFile(file) {
  return import(require('url').pathToFileURL(file).href);
}

async function loadModule(file, name) {
  const modules = isModulePackage(file);
  if (fs.existsSync(file) && fs.statSync(file).isFile()) return require(file);
  if (fs.existsSync(file + '.js')) return modules ? importFile(file + '.js') : require(file + '.js');
  if (fs.existsSync(file + '.mjs')) return importFile(file + '.mjs');
  if (fs.existsSync(file + '.cjs')) return require(file + '.cjs');
  return require(require.resolve(name, { paths: [process.env.LAMBDA_TASK_ROOT, path.dirname(file)] }));
}

async function load(text) {
  const base = path.basename(text);
  const match = /^([^.]*)\.(.+)$/.exec(base);
  if (!match || text.includes('..')) throw new Fault('Runtime.MalformedHandlerName', 'Bad handler');
  const folder = text.slice(0, text.length - base.length);
  const file = path.resolve(process.env.LAMBDA_TASK_ROOT, folder, match[1]);
  let loaded;
  try {
    loaded = await loadModule(file, folder + match[1]);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Fault('Runtime.UserCodeSyntaxError', String(error), error);
    const missing = error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND');
    if (missing) throw new Fault('Runtime.ImportModuleError', String(error), error);
    throw error;
  }
  const find = (from) => match[2].split('.').reduce((value, key) => value && value[key], from);
  const handler = find(loaded) || find(loaded && loaded.default);
  if (handler === undefined) throw new Fault('Runtime.HandlerNotFound', `${text} is undefined or not exported`);
  if (typeof handler !== 'function') throw new Fault('Runtime.HandlerNotFound', `${text} is not a function`);
  return handler;
}

// ---- Streams ---------------------------------------------------------------------------------------------------------

globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = 'response';
    if (options && options.highWaterMark) handler[Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark')] = options.highWaterMark;
    return handler;
  },
  HttpResponseStream: {
    // The head as JSON, eight NULs, then the body.
    from(stream, prelude) {
      stream.setContentType('application/vnd.awslambda.http-integration-response');
      stream.write(Buffer.concat([Buffer.from(JSON.stringify(prelude)), Buffer.alloc(8)]));
      return stream;
    },
  },
};

function runStreaming(handler, event, context) {
  return new Promise((resolve) => {
    const headers = {
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      'Transfer-Encoding': 'chunked',
      'Content-Type': 'application/octet-stream',
      Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
    };
    const stream = request('POST', `invocation/${context.awsRequestId}/response`, headers, () => resolve());
    stream.setContentType = (type) => stream.setHeader('Content-Type', type);
    const failed = (error) => {
      if (!stream.headersSent) stream.flushHeaders();
      const described = describe(error);
      console.error('Invoke Error', JSON.stringify(described));
      stream.addTrailers({
        'Lambda-Runtime-Function-Error-Type': described.errorType,
        'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(described)).toString('base64'),
      });
      stream.end();
    };
    Promise.resolve().then(() => handler(event, stream, context)).then(() => stream.writableEnded || stream.end(), failed);
  });
}

// ---- One invocation --------------------------------------------------------------------------------------------------

function contextOf(headers) {
  const parse = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse('lambda-runtime-client-context'),
    identity: parse('lambda-runtime-cognito-identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

// Completes with what the handler returns, calls back with, or throws: whatever comes first.
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const settle = (error, value) => (error !== undefined && error !== null ? reject(error) : resolve(value));
    // A callback's answer waits until nothing is left to do, unless the handler says otherwise.
    const callback = (error, value) => {
      if (current && context.callbackWaitsForEmptyEventLoop) current.whenIdle = () => settle(error, value);
      else settle(error, value);
    };
    context.done = (error, value) => settle(error, value);
    context.succeed = (value) => settle(null, value);
    context.fail = (error) => settle(error === undefined || error === null ? 'handled' : error);
    // Nothing left to do and no answer: the answer is null.
    current.whenIdle = () => settle(null, null);
    let returned;
    try {
      returned = handler(event, context, callback);
    } catch (error) {
      return reject(error);
    }
    if (returned && typeof returned.then === 'function') returned.then(resolve, reject);
  });
}

function marshal(value) {
  try {
    return Buffer.from(JSON.stringify(value === undefined ? null : value) || 'null');
  } catch (error) {
    throw new Fault('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`, error);
  }
}

async function once(handler, answer) {
  const context = contextOf(answer.headers);
  const id = context.awsRequestId;
  if (answer.headers['lambda-runtime-trace-id']) process.env._X_AMZN_TRACE_ID = answer.headers['lambda-runtime-trace-id'];
  current = { id, whenIdle: null };
  try {
    const event = JSON.parse(answer.body.toString('utf8'));
    if (handler[STREAMING]) return await runStreaming(handler, event, context);
    const body = marshal(await run(handler, event, context));
    await send('POST', `invocation/${id}/response`, body);
  } catch (error) {
    await report(`invocation/${id}/error`, error);
  } finally {
    current = null;
  }
}

async function main() {
  patchConsole();
  process.on('uncaughtException', fatal(129));
  process.on('unhandledRejection', fatal(128));
  process.on('beforeExit', () => {
    if (current && current.whenIdle) {
      const settle = current.whenIdle;
      current.whenIdle = null;
      settle();
    }
  });
  let handler;
  try {
    handler = await load(process.env._HANDLER);
  } catch (error) {
    await report('init/error', error);
    process.exit(1);
  }
  for (;;) {
    const answer = await send('GET', 'invocation/next', null);
    if (answer.status !== 200) {
      console.error(`weir: the Runtime API answered ${answer.status} to \`next\``);
      process.exit(1);
    }
    await once(handler, answer);
  }
}

main();
