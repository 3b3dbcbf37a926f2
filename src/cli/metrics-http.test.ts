import assert from "node:assert/strict"
import { test } from "node:test"
import { answerTo, isWhole } from "./metrics-http.ts"

const metrics = async () => "é 1\n# EOF\n"
const answer = (head: string) => answerTo(head, metrics)
const never = () => Promise.reject(new Error("asked for"))

test("GET /metrics answers with OpenMetrics; the length is in bytes", async () => {
  assert.equal(
    await answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: 11\r\nConnection: close\r\n\r\né 1\n# EOF\n",
  )
  assert.match(await answer("GET http://host/metrics?x=1 HTTP/1.0\n\n"), /^HTTP\/1\.1 200 OK\r\n/)
})

test("HEAD answers without the text", async () => {
  assert.match(await answer("HEAD /metrics HTTP/1.1\r\n\r\n"), /Content-Length: 11\r\n.*\r\n\r\n$/s)
})

test("everything else is refused, and no volume is asked", async () => {
  for (const [head, status] of [
    ["GET / HTTP/1.1\r\n\r\n", "404 Not Found"],
    ["POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"],
    ["GET /metrics HTTP/2\r\n\r\n", "400 Bad Request"],
    ["GET /metrics HTTP/1.1\r\n", "400 Bad Request"],
    ["\r\n\r\n", "400 Bad Request"],
    ["", "400 Bad Request"],
    ["\u0000".repeat(9000), "400 Bad Request"],
  ] as const) {
    assert.ok((await answerTo(head, never)).startsWith(`HTTP/1.1 ${status}\r\n`), head)
  }
  assert.match(await answerTo("PUT /metrics HTTP/1.1\r\n\r\n", never), /\r\nAllow: GET, HEAD\r\n/)
})

test("a head is whole at its empty line", () => {
  assert.equal(isWhole("GET / HTTP/1.1\r\nA: b\r\n"), false)
  assert.equal(isWhole("GET / HTTP/1.1\r\n\r\n"), true)
  assert.equal(isWhole("GET / HTTP/1.1\n\n"), true)
})
