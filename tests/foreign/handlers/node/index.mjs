// Does what its event asks for, and tells what it saw.

export const handler = async (event, context) => {
  console.log("seen by node");
  if (event.action === "raise") throw new TypeError(event.message);
  if (event.action === "exit") process.exit(3);
  return {
    event,
    request: context.awsRequestId,
    function: context.functionName,
    memory: Number(context.memoryLimitInMB),
    remaining: context.getRemainingTimeInMillis(),
  };
};

// The older form: an answer by a callback.
export const callback = (event, context, done) => {
  setTimeout(() => (event.fail ? done(new Error(event.fail)) : done(null, { called: event })), 5);
};
