// Attacks on the admin address: targets that are no path, and entries that would garble a terminal or break the store.
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'ava'
import { adminRoutes, type AdminActions } from '../../src/admin/routes.ts'
import { openAdminServer, type AdminServer } from '../../src/admin/server.ts'

const TOKEN = 'a-token-that-is-long-enough-for-this-test'

function open(internalErrors: string[], routes = {}): Promise<AdminServer> {
  return openAdminServer(
    { host: '127.0.0.1', port: 0 },
    {
      token: TOKEN,
      metrics: () => Promise.resolve('metrics'),
      routes,
      onInternalError: where => void internalErrors.push(where),
    },
  )
}

/** Sends bytes as they are and gives the whole answer. */
async function say(admin: AdminServer, text: string): Promise<string> {
  const socket = connect(admin.endpoint.port, admin.endpoint.host)
  let answer = ''
  socket.on('data', chunk => void (answer += chunk.toString('latin1')))
  socket.write(text)
  await once(socket, 'close')
  return answer
}

test('attack: a target that is no path is refused, and is no defect of the gate', async t => {
  const internalErrors: string[] = []
  const admin = await open(internalErrors)
  const host = `Host: 127.0.0.1:${admin.endpoint.port}\r\nConnection: close\r\n\r\n`
  for (const target of ['//', '//evil.example/metrics', 'http://[', 'http://evil.example/metrics', '*'])
    t.regex(await say(admin, `GET ${target} HTTP/1.1\r\n${host}`), /^HTTP\/1\.1 400 /, target)
  t.regex(await say(admin, `GET /metrics HTTP/1.1\r\n${host}`), /^HTTP\/1\.1 200 /)
  t.deepEqual(internalErrors, [])
  await admin.close()
})

test('attack: entries with terminal sequences, or with times that no store can hold', async t => {
  const added: unknown[] = []
  const addEntry = (entry: unknown): Promise<never> => {
    added.push(entry)
    return Promise.resolve({} as never)
  }
  const route = adminRoutes({ addEntry } as unknown as AdminActions)['POST /v1/overlay']
  const good = {
    kind: 'ban',
    range: '203.0.113.9',
    reason: 'scanner',
    owner: 'jane',
    createdMs: 1,
    expiresMs: 2,
  }
  const bad = [
    { reason: '\u001b[2Jx' },
    { reason: '\u009b31m' },
    { owner: 'eve\nroot' },
    { owner: '\u202eevil' },
    { createdMs: 1e300, expiresMs: null },
    { createdMs: 1.5 },
    { expiresMs: 1e308 },
    { expiresMs: Number.NaN },
  ]
  for (const parts of bad) {
    const answer = await route?.({ query: new URLSearchParams(), body: { ...good, ...parts } })
    t.is(answer?.status, 400, JSON.stringify(parts))
  }
  t.deepEqual(added, [])
  await route?.({ query: new URLSearchParams(), body: good })
  t.is(added.length, 1)
})
