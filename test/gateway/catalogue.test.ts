// E1 to E18, each reached by really doing it, and read as it stands in the gateway log (GW001.log).
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { HOST, startBench, startGate } from '../cli/support.ts'
import { service } from '../tunnel/harness.ts'
import {
  CLIENT_ADDRESS,
  exchange,
  nextTurn,
  OPERATOR_ADDRESS,
  refusalOf,
  startGatewayBench,
} from './support.ts'

/** Every line begins with a time in UTC like `29-Jan-14, 16:11:20, `. */
const LINE = /^\d\d-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d\d, \d\d:\d\d:\d\d, \S/

test('E1, E2, E4 to E18 in the log of one gate', async t => {
  const bench = await startGatewayBench(t)
  const done: string[] = []
  const expect = async (code: string, line: string | RegExp): Promise<void> => {
    const log = await bench.gatewayLog()
    const isThere = log.some(text => (typeof line === 'string' ? text === line : line.test(text)))
    t.true(isThere, `${code} ${String(line)}\n\n${log.join('\n')}`)
    done.push(code)
  }
  await expect('E1', /^Portcullis test, running on test$/)
  await expect('E2', 'Gateway started. Max connections: 20000')
  await expect('E5', `Listening on port ${bench.port}`)

  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const takenPort = (taken.address() as AddressInfo).port
  bench.mergePolicy(`listeners: { second: { address: '127.0.0.1:${takenPort}' } }`)
  await bench.cli(['reload'])
  await expect('E7', 'Reloading configuration')
  await expect('E6', `Failed to bind to listening port ${takenPort}`)
  const policy = bench.policyText()
  bench.mergePolicy(`listeners: { second: { address: '127.0.0.1:0' } }`)
  await bench.cli(['reload'])
  const moved = bench.portcullis.gate.addresses().find(entry => entry.listener === 'second')?.port ?? 0
  await expect('E5', `Listening on port ${moved}`)
  bench.writePolicy(policy)
  await bench.cli(['reload'])
  await expect('E8', `Listen port ${moved} has changed or closed. 0 current connections may finish.`)

  await bench.addKey('acme', 'Testing1', '--max-clients', '1')
  await bench.addKey('globex', 'Testing2')
  await expect('E9', 'Reloading Gateway Keys')
  await bench.addOperator('alice', 'correct horse battery')
  const echo = await service(t, socket => socket.pipe(socket))
  const connector = await bench.client('PC-17', 'Testing1', { echo })
  await expect('E10', 'Client PC-17 connected')
  const connected = await bench.connect('PC-17/echo', {})
  t.is(await exchange(connected.port, 'hello'), 'hello')
  await expect('E12', 'Control alice connected to Client PC-17')
  await connected.stop()
  while ((await bench.sessions()).length > 0) await nextTurn()
  await expect('E13', 'Control alice disconnected from Client PC-17')
  t.is(await refusalOf(bench.client('PC-18', 'Testing1', { echo })), 'capacity-exceeded')
  await expect(
    'E14',
    `Capacity exceeded. Rejecting connection from Client PC-18 (10.1.2.3, ${CLIENT_ADDRESS})`,
  )
  t.is(await refusalOf(bench.client('PC-19', 'Testing9', { echo })), 'key-refused')
  await expect(
    'E15',
    `Security check failed for Client PC-19 (10.1.2.3). Terminating connection from ${CLIENT_ADDRESS}`,
  )
  t.is((await bench.operator(['clients'], { key: 'Testing9' })).code, 1)
  await expect(
    'E16',
    `Security check failed for Control browse. Terminating connection from ${OPERATOR_ADDRESS}`,
  )
  await t.throwsAsync(bench.connect('PC-17/echo', { key: 'Testing9' }))
  await expect(
    'E17',
    `Security check failed for Control alice. Rejecting connection request to Client PC-17 from ${OPERATOR_ADDRESS}`,
  )
  await t.throwsAsync(bench.connect('PC-17/echo', { key: 'Testing2' }))
  await expect(
    'E18',
    `Client/Control security check failed for Control alice. Rejecting connection request to Client PC-17 from ${OPERATOR_ADDRESS}`,
  )
  connector.session.end('gone home')
  while ((await bench.clients()).length > 0) await nextTurn()
  await expect('E11', 'Client PC-17 Disconnected')
  await bench.portcullis.stop()
  await expect('E4', 'Gateway stopped')
  // E3 is the other test.
  const codes = Array.from({ length: 18 }, (_, index) => `E${index + 1}`).filter(code => code !== 'E3')
  t.deepEqual(
    codes.filter(code => !done.includes(code)),
    [],
  )
  const file = readFileSync(join(bench.root, 'var/log/GW001.log'), 'utf8').trimEnd()
  for (const line of file.split('\n')) t.regex(line, LINE)
  t.notRegex(file, /Testing\d|correct horse/)
})

test('E3: a gate whose only port is taken says that it could not start', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const bench = startBench(
    t,
    `{ journal: { log: file }, listeners: { https: { address: '127.0.0.1:${port}' } }, names: { ${HOST}: {} } }`,
  )
  await t.throwsAsync(startGate(t, bench), { message: 'no listener could be opened' })
  const log = readFileSync(join(bench.root, 'var/log/GW001.log'), 'utf8')
  t.regex(log, /, Failed to start Gateway: no listener could be opened\.\n/)
  t.regex(log, new RegExp(`, Failed to bind to listening port ${port}\n`))
})
