// Forwards between real hosts: a helper elsewhere, two PCs with the same port behind the gate, a restart, and the end.
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { Json } from '../cli/support.ts'
import { labObstacle, openLab } from '../support/netlab.ts'

const obstacle = labObstacle() ?? (existsSync('/usr/bin/socat') ? undefined : 'needs socat')
const inLab = obstacle === undefined ? test : test.skip

inLab(
  `two PCs are helped at once over TCP and UDP, through a restart, and not a moment longer${obstacle === undefined ? '' : ` (${obstacle})`}`,
  async t => {
    const hosts = [
      { name: 'gate', addresses: ['198.51.100.1', '10.77.0.1'] },
      { name: 'pcs', addresses: ['10.77.0.5', '10.77.0.6'] },
      { name: 'helper', addresses: ['216.160.83.60'] },
    ]
    const lab = await openLab(`i${randomBytes(3).toString('hex')}`, hosts, {})
    t.teardown(() => lab.close())
    const words = ['pcs', 'helper'].map(host => lab.prefix(host).join(' '))
    const script = join(import.meta.dirname, 'invitation-network.ts')
    const saw = JSON.parse(await lab.run('gate', process.execPath, [script, ...words])) as Json
    t.regex(String(saw['own']), /10\.77\.0\.1 is this gate itself/)
    const both = ['10.77.0.5-help', '10.77.0.6-help']
    t.deepEqual(saw['tcp'], both)
    t.deepEqual(saw['udp'], both)
    t.true(saw['elsewhere'])
    t.deepEqual(saw['cutByStop'], [true, true])
    t.deepEqual(saw['tcpAfterRestart'], both)
    t.deepEqual(saw['udpAfterRestart'], both)
    t.true(saw['cutByEnd'])
    t.is(saw['stillOpen'], '10.77.0.6-go on')
    t.true(saw['cutByTime'])
    t.true(saw['closed'])
    t.deepEqual(
      saw['expired'],
      [
        [51_001, 2],
        [51_002, 0],
      ],
      'TCP and UDP of the helper were cut',
    )
    t.deepEqual(
      saw['sites'],
      [
        ['helpers', 0, 1],
        ['others', 0, 0],
      ],
      'what passed is not in the ledger, where it would look like an agent; the refusal is',
    )
  },
)
