// More situations, played with real clients against a real gate. Each names its cause, and doing what the fix says lets the client in.
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import test from 'ava'
import { HOST, startRunningBench, type Ask, type RunningBench } from '../cli/support.ts'
import { until } from '../support/whole-gate.ts'
import { AGENT, applyPatch, diagnose, isThrough, US, type Found } from './support.ts'

const HERE = '127.0.0.2'
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

type Situation = {
  readonly title: string
  readonly policy?: string
  readonly source?: string
  /** Makes it happen. */
  readonly happen: (bench: RunningBench) => Promise<unknown>
  readonly cause: string
  readonly sentence: RegExp
  /** What stands among the evidence. */
  readonly shown?: RegExp
  /** Words that the steps of the fix must have. */
  readonly steps: RegExp
  /** Does what the fix says. */
  readonly mend: (bench: RunningBench, found: Found) => Promise<unknown>
  /** Tries again; true: the client got in. */
  readonly retry: (bench: RunningBench) => Promise<boolean>
}

/** Sends bytes from an address of this machine that is no load balancer, and waits for the end. */
async function sendDirectly(bench: RunningBench, bytes: string | null): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: bench.port, localAddress: HERE })
  socket.on('error', () => undefined)
  const parts: Buffer[] = []
  socket.on('data', (chunk: Buffer) => parts.push(chunk))
  await once(socket, 'connect')
  if (bytes === null) socket.end()
  else socket.write(bytes)
  if (!socket.closed) await once(socket, 'close')
  await bench.settled()
  return Buffer.concat(parts).toString('latin1')
}

/** Asks with openssl from an address that is no load balancer; true: a verified handshake and an answer. */
async function openssl(bench: RunningBench, ...args: readonly string[]): Promise<boolean> {
  const child = spawn('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${bench.port}`,
    '-bind',
    `${HERE}:0`,
    '-servername',
    HOST,
    '-CAfile',
    bench.authorityFile,
    '-verify_return_error',
    '-quiet',
    '-no_ign_eof',
    ...args,
  ])
  let out = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  child.stdin.on('error', () => undefined)
  child.stdin.write(`GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`)
  await once(child, 'close')
  await bench.settled()
  return out.startsWith('HTTP/1.1 200')
}

const LOOPBACK = 'geo: { loopback: allow }'
const through = async (bench: RunningBench, ask: Ask, source = US): Promise<boolean> =>
  isThrough(await bench.ask(source, ask))
const CHECK_IN: Ask = {
  ...AGENT,
  method: 'POST',
  body: '<CheckIn><AgentId>a1</AgentId><Name>a1</Name></CheckIn>',
}
const LONG = `<CheckIn><AgentId>a1</AgentId><Name>${'x'.repeat(1_500)}</Name></CheckIn>`
const OLD_PAGE = { origin: 'https://old.example.test', 'sec-fetch-mode': 'cors' }
const API: Ask = { path: '/automate', headers: OLD_PAGE }

const SITUATIONS: readonly Situation[] = [
  {
    title: 'a page of another name asks: CORS',
    happen: bench => bench.ask(US, API),
    cause: 'cors',
    sentence: /^A page of https:\/\/old\.example\.test in a browser at .* asks rmm\.example\.test.*CORS/,
    shown: /Origin https:\/\/old\.example\.test asked rmm\.example\.test once/,
    steps: /add rmm\.example\.test as an alternate FQDN in ConnectWise Home/,
    mend: () => Promise.resolve(),
    retry: bench =>
      through(bench, { path: '/automate', headers: { origin: `https://${HOST}`, 'sec-fetch-mode': 'cors' } }),
  },
  {
    title: 'a load balancer without PROXY protocol',
    policy: `listeners: { https: { loadBalancers: [${HERE}] } }\n${LOOPBACK}`,
    source: HERE,
    happen: bench => openssl(bench),
    cause: 'load-balancer',
    sentence: /listed as a load balancer of listener https, but .*every client behind it is lost/,
    steps: /proxy_protocol on;.*send-proxy-v2/s,
    mend: () => Promise.resolve(),
    retry: async bench => {
      // With the header the connection is one of the client that it names.
      const answer = await sendDirectly(
        bench,
        `PROXY TCP4 ${US} 127.0.0.1 999 ${bench.port}\r\nGET / HTTP/1.1\r\n\r\n`,
      )
      return answer.includes('use https://') && (await diagnose(bench, US)).cause === 'plaintext'
    },
  },
  {
    title: 'a load balancer that nobody listed',
    policy: LOOPBACK,
    source: HERE,
    happen: bench => sendDirectly(bench, `PROXY TCP4 ${US} 127.0.0.1 999 ${bench.port}\r\n`),
    cause: 'load-balancer',
    sentence: /sends a PROXY protocol header from an address that is not in loadBalancers/,
    steps: /If it is your load balancer, list it/,
    mend: (bench, { fix }) => applyPatch(bench, fix),
    retry: async bench =>
      (
        await sendDirectly(bench, `PROXY TCP4 ${US} 127.0.0.1 999 ${bench.port}\r\nGET / HTTP/1.1\r\n\r\n`)
      ).includes('use https://'),
  },
  {
    title: 'SSH was pointed at the TLS port',
    policy: LOOPBACK,
    source: HERE,
    happen: bench => sendDirectly(bench, 'SSH-2.0-OpenSSH_9.2\r\n'),
    cause: 'plaintext',
    sentence: /speaks SSH on the TLS port of listener https \(once\)/,
    steps: /both ends must agree/,
    mend: () => Promise.resolve(),
    retry: bench => openssl(bench),
  },
  {
    title: 'a body that is too large',
    policy: 'classes: { agent: { limits: { maxBody: 1KiB } } }',
    happen: bench => bench.ask(US, { ...CHECK_IN, body: LONG }),
    cause: 'body',
    sentence: /sends a body that agent does not take \(once\)/,
    shown: /1500|1024/,
    steps: /raise the limit for this site/,
    mend: (bench, { fix }) => applyPatch(bench, fix),
    retry: bench => through(bench, { ...CHECK_IN, body: LONG }),
  },
  {
    title: 'a body in a coding that rules cannot read',
    policy: 'rules: { modes: { windows-file: detect } }',
    happen: bench =>
      bench.ask(US, {
        path: '/automate/login',
        method: 'POST',
        body: 'file=x',
        headers: { 'content-encoding': 'zstd', 'content-type': 'application/x-www-form-urlencoded' },
      }),
    cause: 'body',
    sentence: /sends a body that console does not take/,
    steps: /rules then see only a part of it/,
    mend: (bench, { fix }) => applyPatch(bench, fix),
    retry: async bench => {
      const result = await bench.ask(US, {
        path: '/automate/login',
        method: 'POST',
        body: 'file=x',
        headers: { 'content-encoding': 'zstd', 'content-type': 'application/x-www-form-urlencoded' },
      })
      return 'status' in result && result.status !== 415
    },
  },
  {
    title: 'a TLS exception that ended yesterday',
    policy: `sites: { acme: { addresses: [${US}], tlsException: { minimum: TLSv1, reason: x-ray PC, owner: jo, expires: ${new Date(Date.now() + DAY_MS).toISOString().slice(0, 10)} } } }`,
    happen: async bench => {
      bench.advance(3 * DAY_MS)
      return bench.ask(US, { ...AGENT, tls: 'TLSv1' })
    },
    cause: 'tls-version',
    sentence:
      /The TLS exception that covered this ended on \d{4}-\d\d-\d\d \(x-ray PC; .*portcullis\.yaml:\d+/,
    shown: /Windows 7|\.NET/,
    steps:
      /SchUseStrongCrypto.*SystemDefaultTlsVersions.*WOW6432Node.*TLS 1\.2\\Client.*Restart-Service LTService, LTSvcMon/s,
    mend: (bench, { fix }) => applyPatch(bench, fix),
    retry: bench => through(bench, { ...AGENT, tls: 'TLSv1' }),
  },
  {
    title: 'old TLS, mended on the device as the fix says',
    happen: async bench => {
      await bench.ask(US, AGENT)
      return bench.ask(US, { ...AGENT, tls: 'TLSv1' })
    },
    cause: 'tls-version',
    sentence: /^One device among healthy ones behind 216\.160\.83\.56 offers only TLSv1/,
    shown: /JA4 t10/,
    steps: /GetNames\(\[Net\.SecurityProtocolType\]\)/,
    // The registry lets the same program offer more; its old fingerprint is gone after a day.
    mend: bench => Promise.resolve(bench.advance(DAY_MS + HOUR_MS)),
    retry: bench => through(bench, { ...AGENT, tls: 'TLSv1.2' }),
  },
  {
    title: 'an exception from a rule that has ended',
    policy: `rules: { exceptions: [{ rule: windows-file, paths: /automate, reason: invoice upload, owner: jo, expires: ${new Date(Date.now() + DAY_MS).toISOString().slice(0, 10)} }] }`,
    happen: async bench => {
      bench.advance(3 * DAY_MS)
      return bench.ask(US, { path: '/automate?file=../../windows/win.ini' })
    },
    cause: 'rule',
    sentence: /An exception from this rule that covered this ended on .* \(invoice upload; /,
    shown: /GET https:\/\/rmm\.example\.test\/automate/,
    steps: /except exactly it/,
    mend: (bench, { fix }) => applyPatch(bench, fix),
    retry: bench => through(bench, { path: '/automate?file=../../windows/win.ini' }),
  },
  {
    title: 'the clock of the device is years ahead: it takes the certificate for expired',
    policy: LOOPBACK,
    source: HERE,
    happen: bench => openssl(bench, '-attime', String(Math.floor(Date.now() / 1_000) + 20 * 365 * 86_400)),
    cause: 'handshake',
    sentence: /takes the certificate for expired: is its clock right\?/,
    steps: /w32tm \/resync/,
    mend: () => Promise.resolve(),
    retry: bench => openssl(bench),
  },
  {
    title: 'the certificate does not carry the name that the client expects',
    policy: LOOPBACK,
    source: HERE,
    happen: bench => openssl(bench, '-verify_hostname', 'wrong.example.test'),
    cause: 'handshake',
    sentence: /does not trust the certificate: its name, its chain or its dates/,
    steps: /The name that the agent uses must stand in the certificate.*https:\/\/rmm\.example\.test/,
    mend: () => Promise.resolve(),
    retry: bench => openssl(bench, '-verify_hostname', HOST),
  },
  {
    title: 'no cipher in common',
    policy: LOOPBACK,
    source: HERE,
    happen: bench => openssl(bench, '-tls1_2', '-cipher', 'AES128-SHA:@SECLEVEL=0'),
    cause: 'handshake',
    sentence: /shares no cipher with the gate/,
    steps: /SSL Cipher Suite Order/,
    // With other ciphers it has another fingerprint: the old one is gone after a day.
    mend: bench => Promise.resolve(bench.advance(DAY_MS + HOUR_MS)),
    retry: bench => openssl(bench, '-tls1_2'),
  },
  {
    title: 'a class with a key, and the client has none',
    policy: "classes: { console: { keys: [{ query: authtoken, value: '0123456789abcdef' }] } }",
    happen: bench => bench.ask(US, { path: '/automate' }),
    cause: 'class',
    sentence: /gets in, but not to console: this part of the server needs a key/,
    steps: /Use the link or header with the key/,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, { path: '/automate?authtoken=0123456789abcdef' }),
  },
  {
    title: 'a method that the class does not take',
    policy: 'classes: { agent: { limits: { methods: [GET] } } }',
    happen: bench => bench.ask(US, CHECK_IN),
    cause: 'class',
    sentence: /the method is not among those/,
    steps: /Add the method to limits\.methods/,
    mend: async bench => {
      bench.mergePolicy('classes: { agent: { limits: { methods: [POST] } } }')
      return bench.cli(['reload'])
    },
    retry: bench => through(bench, CHECK_IN),
  },
  {
    title: 'Host and server name differ',
    happen: bench => bench.ask(US, { ...AGENT, headers: { host: 'other.example.test' } }),
    cause: 'name',
    sentence: /asks for other\.example\.test/,
    steps: /Set the server address at the client to https:\/\/rmm\.example\.test/,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, AGENT),
  },
  {
    title: 'a ban in the policy file, beaten by an allow',
    policy: `bans: [{ address: ${US}, reason: scans, owner: jane }]`,
    happen: bench => bench.ask(US, AGENT),
    cause: 'banned',
    sentence: /banned without an end: scans \(by jane, .*portcullis\.yaml:\d+/,
    steps: /Remove the ban at .*bin\/portcullis allow 216\.160\.83\.56/,
    mend: bench => bench.cli(['allow', US, '--reason', 'the office']),
    retry: bench => through(bench, AGENT),
  },
  {
    title: 'the RMM server answers errors',
    policy: 'upstreams: { rmm: { health: { path: /LabTech/Agent.aspx, interval: 1s, timeout: 1s } } }',
    happen: async bench => {
      await bench.practice.fail('error')
      return bench.ask(US, AGENT)
    },
    cause: 'upstream',
    sentence: /RMM server (?:fails: 1 of 1 requests ended badly|behind rmm\.example\.test does not answer)/,
    steps: /Bring the RMM server back/,
    mend: async bench => {
      await bench.practice.fail('none')
      const isUp = async (): Promise<boolean> => {
        const { value } = await bench.json(['status'])
        return (value['upstreams'] as readonly { readonly state: string }[])[0]?.state === 'up'
      }
      while (!(await isUp())) await new Promise(setImmediate)
    },
    retry: async bench => (await through(bench, AGENT)) && (await through(bench, AGENT)),
  },
  {
    title: 'it came yesterday, and others come now: gone quiet',
    happen: async bench => {
      await bench.ask(US, AGENT)
      bench.advance(5 * HOUR_MS)
      return bench.ask('216.160.83.57', AGENT)
    },
    cause: 'gone-quiet',
    sentence:
      /came through until .* UTC and is silent since\. Agents of 1 other address do come, so the gate works/,
    steps: /its direct address, which is their secondary one.*--live/s,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, AGENT),
  },
  {
    title: 'nobody comes any more: look at the gate',
    happen: async bench => {
      await bench.ask(US, AGENT)
      bench.advance(30 * HOUR_MS)
    },
    cause: 'gone-quiet',
    sentence: /Nobody else has come within the last hour either/,
    steps: /Test-NetConnection -ComputerName rmm\.example\.test -Port 443/,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, AGENT),
  },
  {
    title: 'only a port test so far',
    happen: bench => bench.send(US, null),
    cause: 'reachability-test',
    sentence: /that is a port test, and it succeeded/,
    steps: /server address in the agent.*https:\/\/rmm\.example\.test.*Restart-Service/s,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, AGENT),
  },
  {
    title: 'nothing ever arrived',
    happen: () => Promise.resolve(),
    cause: 'never-arrived',
    sentence: /firewall or DNS still points to the old address/,
    steps:
      /Test-NetConnection -ComputerName rmm\.example\.test -Port 443.*Resolve-DnsName rmm\.example\.test/s,
    mend: () => Promise.resolve(),
    retry: bench => through(bench, AGENT),
  },
]

for (const {
  title,
  policy = '',
  source = US,
  happen,
  cause,
  sentence,
  shown,
  steps,
  mend,
  retry,
} of SITUATIONS) {
  test.serial(`${title}: named, and what the fix says lets the client in`, async t => {
    const bench = await startRunningBench(t, policy)
    await happen(bench)
    bench.advance(1_000)
    const found = await diagnose(bench, source)
    t.is(found.cause, cause, JSON.stringify(found))
    t.regex(found.sentence, sentence)
    t.false(found.healthy)
    t.is(found.code, 1)
    t.regex(found.fix?.steps.join('\n') ?? '', steps)
    for (const { command } of found.fix?.commands ?? [])
      t.true(
        found.fix?.steps.some(step => step.includes(command.split('\n')[0] ?? '')),
        command,
      )
    if (shown !== undefined) t.regex(found.evidence.map(entry => entry.text).join('\n'), shown)
    await mend(bench, found)
    bench.advance(1_000)
    t.true(await retry(bench), 'the client gets in')
    if (cause === 'load-balancer') return
    bench.advance(1_000)
    t.true(await retry(bench))
    const after = await diagnose(bench, source)
    t.true(after.healthy, after.sentence)
    t.is(after.code, 0)
  })
}

test.serial(
  'heartbeats come through the gate, check-ins do not: the agent uses the direct address',
  async t => {
    const bench = await startRunningBench(t, LOOPBACK)
    bench.mergePolicy(
      `heartbeats: { automate: { address: '127.0.0.1:0', upstream: '127.0.0.1:${bench.practice.udpPort}' } }`,
    )
    t.is((await bench.cli(['reload'])).code, 0)
    const socket = createSocket('udp4')
    t.teardown(() => socket.close())
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const state = () => bench.portcullis.heartbeats.states()[0]
    socket.send('PRACTICE HEARTBEAT', bench.portcullis.heartbeats.addresses()[0]?.port ?? 0, '127.0.0.1')
    await until(() => state()?.replies === 1)
    bench.advance(24_000)
    await until(() => state()?.sites[0]?.heartbeats === 1)
    const found = await diagnose(bench, '127.0.0.1')
    t.is(found.cause, 'direct-address', found.sentence)
    t.regex(
      found.fix?.steps.join('\n') ?? '',
      /https:\/\/rmm\.example\.test\|https:\/\/<direct address>.*Get-NetTCPConnection/s,
    )
    t.true(await through(bench, AGENT, '127.0.0.1'))
    t.true((await diagnose(bench, '127.0.0.1')).healthy)
  },
)
