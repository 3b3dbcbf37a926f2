// Holds what comes on standard input in memory, in the clear, until killed.
const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
globalThis.held = Buffer.concat(chunks)
process.stdout.write("held\n")
setInterval(() => {}, 1000)
