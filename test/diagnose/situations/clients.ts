// Situations that the client makes: names, certificates, ciphers, ports, load balancers, pages of other names, silence.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { HOST } from '../../cli/support.ts'
import type { Scene, Situation } from '../stage.ts'
import { AGENT, diagnose, isThrough, US } from '../support.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const LOOPBACK = 'geo: { loopback: allow }'
const HERE = { place: 'here', policy: LOOPBACK } as const
const nothing = (): Promise<void> => Promise.resolve()
const FOREIGN_PAGE = { origin: 'https://old.example.test', 'sec-fetch-mode': 'cors' }
/** Sent by a load balancer for a client elsewhere, who then asks in plain text. */
const forAnother = ({ bench }: Scene): string =>
  `PROXY TCP4 ${US} 127.0.0.1 999 ${bench.port}\r\nGET / HTTP/1.1\r\n\r\n`

/** Asks with curl straight from the address; its exit code. */
async function curl({ bench, source }: Scene, host: string, ...args: readonly string[]): Promise<number> {
  const child = spawn('curl', [
    '--silent',
    '--output',
    '/dev/null',
    '--interface',
    source,
    '--resolve',
    `${HOST}:${bench.port}:127.0.0.1`,
    '--fail',
    ...args,
    `https://${host}:${bench.port}/LabTech/Agent.aspx`,
  ])
  const [code] = (await once(child, 'close')) as [number]
  await bench.settled()
  return code
}

const WITHOUT_NAME = ['--insecure', '--header', `Host: ${HOST}`]

export const CLIENT_SITUATIONS: readonly Situation[] = [
  {
    title: 'a page of another name asks: CORS',
    happen: scene => scene.ask({ path: '/automate', headers: FOREIGN_PAGE }),
    cause: 'cors',
    sentence: /^A page of https:\/\/old\.example\.test in a browser at .* asks rmm\.example\.test.*CORS/,
    shown: /Origin https:\/\/old\.example\.test asked rmm\.example\.test once/,
    steps: /add rmm\.example\.test as an alternate FQDN in ConnectWise Home/,
    mend: nothing,
    retry: scene =>
      scene.passes({
        path: '/automate',
        headers: { origin: `https://${HOST}`, 'sec-fetch-mode': 'cors' },
      }),
  },
  {
    title: 'a load balancer without PROXY protocol',
    place: 'here',
    policy: source => `listeners: { https: { loadBalancers: [${source}] } }\n${LOOPBACK}`,
    happen: scene => scene.openssl(),
    cause: 'load-balancer',
    sentence: /listed as a load balancer of listener https, but .*every client behind it is lost/,
    steps: /proxy_protocol on;.*send-proxy-v2/s,
    mend: nothing,
    // With the header the connection is one of the client that it names.
    retry: async scene => {
      const answer = await scene.send(forAnother(scene))
      return answer.includes('use https://') && (await diagnose(scene.bench, US)).cause === 'plaintext'
    },
    afterwards: 'load-balancer',
  },
  {
    title: 'a load balancer that nobody listed',
    ...HERE,
    happen: ({ bench, send }) => send(`PROXY TCP4 ${US} 127.0.0.1 999 ${bench.port}\r\n`),
    cause: 'load-balancer',
    sentence: /sends a PROXY protocol header from an address that is not in loadBalancers/,
    steps: /somebody tries to pass as another client.*\n.*list it/,
    mend: 'try',
    retry: async scene => (await scene.send(forAnother(scene))).includes('use https://'),
    afterwards: 'load-balancer',
  },
  {
    title: 'SSH was pointed at the TLS port',
    ...HERE,
    happen: scene => scene.send('SSH-2.0-OpenSSH_9.2\r\n'),
    cause: 'plaintext',
    sentence: /speaks SSH on the TLS port of listener https \(once\)/,
    steps: /both ends must agree/,
    mend: nothing,
    retry: scene => scene.openssl(),
  },
  {
    title: 'plain HTTP on a TLS port',
    ...HERE,
    happen: scene => scene.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`),
    cause: 'plaintext',
    sentence: /speaks plain text on a TLS port once/,
    steps: /https:\/\/rmm\.example\.test, not http:/,
    mend: nothing,
    retry: scene => scene.openssl(),
  },
  {
    title: 'the clock of the device is years ahead: it takes the certificate for expired',
    ...HERE,
    happen: scene => scene.openssl('-attime', String(Math.floor(Date.now() / 1_000) + 20 * 365 * 86_400)),
    cause: 'handshake',
    sentence:
      /takes the certificate for expired, so its clock is probably wrong \(its alert: certificate expired\)/,
    steps: /w32tm \/resync/,
    mend: nothing,
    retry: scene => scene.openssl(),
  },
  {
    title: 'the clock of the device is behind: the certificate is not valid yet for it',
    ...HERE,
    happen: scene => scene.openssl('-attime', String(Math.floor(Date.now() / 1_000) - 20 * 365 * 86_400)),
    cause: 'handshake',
    sentence: /its name, its chain, or its dates if its clock is behind \(its alert: bad certificate\)/,
    steps: /A certificate counts from its first day only:\n  w32tm \/resync/,
    mend: nothing,
    retry: scene => scene.openssl(),
  },
  {
    title: 'the server address is an IP address, which stands in no certificate',
    ...HERE,
    happen: scene => scene.openssl('-servername', '198.51.100.7'),
    cause: 'name',
    sentence: /asks for 198\.51\.100\.7, which is an address and no name/,
    steps: /^Set the server address at the client to https:\/\/rmm\.example\.test: a name, not an address\.$/,
    mend: nothing,
    retry: scene => scene.openssl(),
  },
  {
    title: 'IPv6 of a site that lists only IPv4: its network is recorded, not an address of one day',
    place: { address: '2a02:c7c:1:2::51' },
    policy: 'sites: { acme: { name: Acme, addresses: [81.2.69.200], countries: [GB] } }',
    happen: scene => scene.ask(AGENT),
    cause: 'country',
    sentence: /no part of the server is open to the country of the address: GB \(/,
    steps: /Does a site list only IPv4 addresses.*add 2a02:c7c:1:2::\/64.*often \/56 or \/48/,
    mend: 'patch',
    // Tomorrow the device has another address.
    retry: async scene =>
      isThrough(await scene.bench.ask('2a02:c7c:1:2:9f3c::7', AGENT)) && (await scene.passes(AGENT)),
  },
  {
    title: 'a client behind carrier-grade NAT inside the network of the provider',
    place: { address: '100.64.1.7' },
    happen: scene => scene.ask(AGENT),
    cause: 'country',
    sentence: /it is an address of carrier-grade NAT \(100\.64\.0\.0\/10\), and the policy refuses those/,
    mend: 'patch',
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'the certificate does not carry the name that the client expects',
    ...HERE,
    happen: scene => scene.openssl('-verify_hostname', 'wrong.example.test'),
    cause: 'handshake',
    sentence: /does not trust the certificate: its name, its chain, or its dates/,
    steps: /The name that the agent uses must stand in the certificate.*https:\/\/rmm\.example\.test/,
    mend: nothing,
    retry: scene => scene.openssl('-verify_hostname', HOST),
  },
  {
    title: 'a client that does not know the authority',
    ...HERE,
    happen: scene => curl(scene, HOST),
    cause: 'handshake',
    sentence: /breaks off the TLS handshake once: it does not trust the certificate/,
    mend: nothing,
    retry: async scene => (await curl(scene, HOST, '--cacert', scene.bench.authorityFile)) === 0,
  },
  {
    title: 'no cipher in common',
    ...HERE,
    happen: scene => scene.openssl('-tls1_2', '-cipher', 'AES128-SHA:@SECLEVEL=0'),
    cause: 'handshake',
    sentence: /shares no cipher with the gate/,
    steps: /SSL Cipher Suite Order/,
    // With other ciphers it has another fingerprint: the old one is gone after a day.
    mend: ({ bench }) => Promise.resolve(bench.advance(DAY_MS + HOUR_MS)),
    retry: scene => scene.openssl('-tls1_2'),
  },
  {
    title: 'a client that names no host',
    ...HERE,
    happen: scene => curl(scene, '127.0.0.1', ...WITHOUT_NAME),
    cause: 'name',
    sentence: /names no host \(once\)/,
    mend: 'patch',
    retry: async scene => (await curl(scene, '127.0.0.1', ...WITHOUT_NAME)) === 0,
  },
  {
    title: 'Host and server name differ',
    happen: scene => scene.ask({ ...AGENT, headers: { host: 'other.example.test' } }),
    cause: 'name',
    sentence: /asks for other\.example\.test/,
    steps: /Set the server address at the client to https:\/\/rmm\.example\.test/,
    mend: nothing,
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'the RMM server answers errors',
    policy: 'upstreams: { rmm: { health: { path: /LabTech/Agent.aspx, interval: 1s, timeout: 1s } } }',
    happen: async ({ bench, ask }) => {
      await bench.practice.fail('error')
      return ask(AGENT)
    },
    cause: 'upstream',
    sentence: /RMM server (?:fails: 1 of 1 requests ended badly|behind rmm\.example\.test does not answer)/,
    steps: /Bring the RMM server back/,
    mend: async ({ bench }) => {
      await bench.practice.fail('none')
      const isUp = async (): Promise<boolean> => {
        const { value } = await bench.json(['status'])
        return (value['upstreams'] as readonly { readonly state: string }[])[0]?.state === 'up'
      }
      while (!(await isUp())) await new Promise(setImmediate)
    },
    retry: async ({ passes }) => (await passes(AGENT)) && (await passes(AGENT)),
  },
  {
    title: 'it came hours ago, and others come now: gone quiet',
    happen: async ({ bench, ask }) => {
      await ask(AGENT)
      bench.advance(5 * HOUR_MS)
      return bench.ask('216.160.82.57', AGENT)
    },
    cause: 'gone-quiet',
    sentence:
      /came through until .* UTC and is silent since\. Agents of 1 other address do come, so the gate works/,
    steps: /its direct address, which is their secondary one.*--live/s,
    mend: nothing,
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'three intervals of its product without a check-in, and others come: gone',
    happen: async ({ bench, source, ask }) => {
      await ask(AGENT)
      bench.advance(11 * 60_000)
      await bench.ask('216.160.82.57', AGENT)
      const late = await diagnose(bench, source)
      if (!late.healthy || !/It is late now: 11 minutes since/.test(late.sentence))
        throw new Error(late.sentence)
      bench.advance(5 * 60_000)
    },
    cause: 'gone-quiet',
    sentence: /came through until .* UTC and is silent since\. Agents of 1 other address do come/,
    mend: nothing,
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'nobody comes any more: look at the gate',
    happen: async ({ bench, ask }) => {
      await ask(AGENT)
      bench.advance(30 * HOUR_MS)
    },
    cause: 'gone-quiet',
    sentence: /Nobody else has come within the last 15 minutes either/,
    steps: /^Does the gate listen.*status\n.*--probe https:\/\/rmm\.example\.test\nIf both are well/,
    mend: nothing,
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'nothing ever arrived, then a port test, then the agent',
    happen: nothing,
    cause: 'never-arrived',
    sentence: /firewall or DNS still points to the old address/,
    steps:
      /Test-NetConnection -ComputerName rmm\.example\.test -Port 443.*Resolve-DnsName rmm\.example\.test/s,
    mend: ({ bench, source }) => bench.send(source, null),
    retry: async ({ bench, source, passes }) =>
      (await diagnose(bench, source)).cause === 'reachability-test' && (await passes(AGENT)),
  },
  {
    title: 'only a port test so far',
    happen: ({ bench, source }) => bench.send(source, null),
    cause: 'reachability-test',
    sentence: /that is a port test, and it succeeded/,
    steps: /server address in the agent.*https:\/\/rmm\.example\.test.*Restart-Service/s,
    mend: nothing,
    retry: scene => scene.passes(AGENT),
  },
]
