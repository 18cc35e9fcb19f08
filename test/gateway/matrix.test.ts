// The gateway key matrix, with keys of at least eight characters: a real gate, connectors and the operator's command line.
import test from 'ava'
import { service } from '../tunnel/harness.ts'
import { exchange, nextTurn, refusalOf, startGatewayBench } from './support.ts'

/** Key of the operator, keys of the gateway, key of the client; what becomes of both; what the gateway log says. */
const MATRIX = [
  {
    row: 1,
    operator: 'Testing1',
    gateway: ['Testing2'],
    client: 'Test1xxx',
    attached: false,
    operatorSees: 'refused',
    log: [
      'Security check failed for Client PC-17 (10.1.2.3). Terminating connection from <client>',
      'Security check failed for Control browse. Terminating connection from <operator>',
      'Security check failed for Control alice. Rejecting connection request to Client PC-17 from <operator>',
    ],
  },
  {
    row: 2,
    operator: 'Testing2',
    gateway: ['Testing1', 'Testing2'],
    client: 'Testing1',
    attached: true,
    operatorSees: 'nothing',
    log: [
      'Client PC-17 connected',
      'Client/Control security check failed for Control alice. Rejecting connection request to Client PC-17 from <operator>',
    ],
  },
  {
    row: 3,
    operator: 'Testing1',
    gateway: ['Testing1'],
    client: 'Testing1',
    attached: true,
    operatorSees: 'client',
    log: ['Client PC-17 connected', 'Control alice connected to Client PC-17'],
  },
  {
    row: 4,
    operator: 'Testing2',
    gateway: ['Testing1'],
    client: 'Testing2',
    attached: false,
    operatorSees: 'refused',
    log: [
      'Security check failed for Client PC-17 (10.1.2.3). Terminating connection from <client>',
      'Security check failed for Control browse. Terminating connection from <operator>',
    ],
  },
  {
    // The published table says that a client with a blank key connects, against its own text: a blank key is refused.
    row: 5,
    operator: 'Testing2',
    gateway: ['Testing1', 'Testing2', 'Testing3'],
    client: '',
    attached: false,
    operatorSees: 'nothing',
    log: ['Security check failed for Client PC-17 (10.1.2.3). Terminating connection from <client>'],
  },
  {
    // What the row must have meant.
    row: 6,
    operator: 'Testing2',
    gateway: ['Testing1', 'Testing2', 'Testing3'],
    client: 'Testing2',
    attached: true,
    operatorSees: 'client',
    log: ['Client PC-17 connected', 'Control alice connected to Client PC-17'],
  },
  {
    // N13: a gateway without a key.
    row: 7,
    operator: 'Testing1',
    gateway: [],
    client: 'Testing1',
    attached: false,
    operatorSees: 'refused',
    log: ['Security check failed for Client PC-17 (10.1.2.3). Terminating connection from <client>'],
  },
] as const

test('the key matrix, with keys that are added and removed while the gate runs', async t => {
  const bench = await startGatewayBench(t)
  await bench.addOperator('alice', 'correct horse battery')
  const echo = await service(t, socket => socket.pipe(socket))
  for (const entry of MATRIX) {
    const said = `row ${entry.row}`
    for (const key of entry.gateway) await bench.addKey(`key-${key}`, key)
    const before = (await bench.gatewayLog()).length
    // Addresses of their own, so that the wrong keys of one row do not hold the next.
    const client = `216.160.83.${100 + entry.row}`
    const from = `216.160.83.${200 + entry.row}`
    const attached = await refusalOf(bench.client('PC-17', entry.client, { echo }, { from: client }))
    t.is(attached, entry.attached ? 'attached' : 'key-refused', said)

    const browse = await bench.operator(['clients'], { key: entry.operator, from })
    const reach = bench.connect('PC-17/echo', { key: entry.operator, from })
    if (entry.operatorSees === 'client') {
      t.regex(browse.out, /PC-17 +echo +216\.160\.83\.10\d +10\.1\.2\.3/, said)
      const connected = await reach
      t.is(await exchange(connected.port, 'hello'), 'hello')
      t.like(await bench.sessions(), [{ operator: 'alice', client: 'PC-17', service: 'echo' }])
      await connected.stop()
    } else if (entry.operatorSees === 'nothing') {
      t.regex(browse.out, /No client is attached/, said)
      await t.throwsAsync(reach, { message: /No client PC-17 is attached with this gateway key/ }, said)
    } else {
      t.is(browse.code, 1, said)
      t.regex(browse.err, /Operator name, password and gateway key do not belong together/, said)
      await t.throwsAsync(reach, { message: /do not belong together/ }, said)
    }
    const log = (await bench.gatewayLog()).slice(before)
    for (const line of entry.log) {
      const wanted = line.replace('<client>', client).replace('<operator>', from)
      t.true(log.includes(wanted), `${said}: ${wanted}\n\n${log.join('\n')}`)
    }
    for (const key of entry.gateway) t.is((await bench.cli(['keys', 'remove', `key-${key}`])).code, 0)
    while ((await bench.clients()).length > 0) await nextTurn()
  }
})
