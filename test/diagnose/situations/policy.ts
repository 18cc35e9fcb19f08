// Situations that the policy makes and its YAML mends: countries, classes, TLS versions, rules, names, bodies, limits.
import { OTHER_HOST, type Ask } from '../../cli/support.ts'
import type { Scene, Situation } from '../stage.ts'
import { AGENT } from '../support.ts'

const DAY_MS = 86_400_000
const CONSOLE: Ask = { path: '/automate' }
const ATTACK: Ask = { path: '/automate?file=../../windows/win.ini' }
const CHECK_IN: Ask = {
  ...AGENT,
  method: 'POST',
  body: '<CheckIn><AgentId>a1</AgentId><Name>a1</Name></CheckIn>',
}
const LONG: Ask = {
  ...CHECK_IN,
  body: `<CheckIn><AgentId>a1</AgentId><Name>${'x'.repeat(1_500)}</Name></CheckIn>`,
}
const ODD_CODING: Ask = {
  path: '/automate/login',
  method: 'POST',
  body: 'file=x',
  headers: { 'content-encoding': 'zstd', 'content-type': 'application/x-www-form-urlencoded' },
}

/** A day after tomorrow has passed in these situations before anything happens. */
function tomorrow(bench: Scene['bench']): string {
  return new Date(bench.nowMs() + DAY_MS).toISOString().slice(0, 10)
}

/** Refused, diagnosed, the printed YAML merged, admitted. */
function refused(
  ask: Ask,
  rest: Omit<Situation, 'happen' | 'retry' | 'mend'> & Partial<Pick<Situation, 'mend'>>,
): Situation {
  return { mend: 'patch', ...rest, happen: scene => scene.ask(ask), retry: scene => scene.passes(ask) }
}

export const POLICY_SITUATIONS: readonly Situation[] = [
  refused(AGENT, { title: 'country refused', place: 'GB', cause: 'country', sentence: /GB/ }),
  refused(AGENT, {
    title: 'country refused for a recorded site',
    place: 'GB',
    policy: source => `sites: { acme: { name: Acme, addresses: [${source}] } }`,
    cause: 'country',
    sentence: /GB/,
  }),
  refused(AGENT, {
    title: 'unknown country',
    place: { address: '3ffe::7' },
    cause: 'country',
    sentence: /no country is known/,
  }),
  refused(AGENT, {
    title: 'private address refused',
    place: { address: '10.1.2.3' },
    cause: 'country',
    sentence: /is refused because it is a private address, and the policy refuses those/,
    steps: /hides their addresses: let it speak PROXY protocol/,
  }),
  refused(AGENT, {
    title: 'IPv6 address of a refused country',
    place: { address: '2a00:1450:4009:81f::200e' },
    cause: 'country',
    sentence: /no part of the server is open to the country of the address: IE/,
  }),
  refused(
    { ...AGENT, tls: 'TLSv1' },
    {
      title: 'old TLS, the whole site',
      cause: 'tls-version',
      sentence: /^Every client at .* offers only TLSv1, below the minimum TLSv1\.2/,
    },
  ),
  {
    title: 'old TLS, one device among healthy ones of a recorded site',
    policy: source => `sites: { acme: { name: "Acme: the # one", addresses: [${source}] } }`,
    happen: async scene => {
      await scene.ask(AGENT)
      return scene.ask({ ...AGENT, tls: 'TLSv1.1' })
    },
    cause: 'tls-version',
    sentence: /^One device among healthy ones/,
    mend: 'patch',
    retry: scene => scene.passes({ ...AGENT, tls: 'TLSv1.1' }),
  },
  {
    title: 'old TLS, mended on the device as the fix says',
    happen: async scene => {
      await scene.ask(AGENT)
      return scene.ask({ ...AGENT, tls: 'TLSv1' })
    },
    cause: 'tls-version',
    sentence: /^One device among healthy ones behind 216\.160\.83\.\d+ offers only TLSv1/,
    shown: /JA4 t10/,
    steps: /GetNames\(\[Net\.SecurityProtocolType\]\)/,
    // The registry lets the same program offer more; its old fingerprint is gone after a day.
    mend: scene => Promise.resolve(scene.bench.advance(DAY_MS + 3_600_000)),
    retry: scene => scene.passes({ ...AGENT, tls: 'TLSv1.2' }),
  },
  {
    title: 'a TLS exception that ended yesterday',
    happen: async ({ bench, source, ask }) => {
      bench.mergePolicy(
        `sites: { acme: { addresses: [${source}], tlsException: { minimum: TLSv1, reason: x-ray PC, owner: jo, expires: ${tomorrow(bench)} } } }`,
      )
      await bench.cli(['reload'])
      bench.advance(3 * DAY_MS)
      return ask({ ...AGENT, tls: 'TLSv1' })
    },
    cause: 'tls-version',
    sentence:
      /The TLS exception that covered this ended on \d{4}-\d\d-\d\d \(x-ray PC; .*portcullis\.yaml:\d+/,
    shown: /Windows 7|\.NET/,
    steps:
      /SchUseStrongCrypto.*SystemDefaultTlsVersions.*WOW6432Node.*TLS 1\.2\\Client.*Restart-Service LTService, LTSvcMon/s,
    mend: 'patch',
    retry: scene => scene.passes({ ...AGENT, tls: 'TLSv1' }),
  },
  refused(CONSOLE, {
    title: 'class closed',
    policy: 'model: agent-only',
    cause: 'class',
    sentence: /gets in, but not to console: .*portcullis\.yaml:\d+/,
  }),
  refused(CONSOLE, {
    title: 'class for trusted addresses only',
    policy: 'model: mixed',
    cause: 'class',
    sentence: /gets in, but not to console/,
  }),
  refused(CONSOLE, {
    title: 'class for trusted addresses only, recorded site',
    policy: source => `model: mixed\nsites: { acme: { addresses: [${source}] } }`,
    cause: 'class',
    sentence: /gets in, but not to console/,
  }),
  refused(CONSOLE, {
    title: 'class not open to the country',
    place: 'GB',
    policy: 'classes: { agent: { countries: [home, GB] } }',
    cause: 'class',
    sentence: /not to console.*country/,
  }),
  refused(
    { ...CONSOLE, tls: 'TLSv1.2' },
    {
      title: 'class demands newer TLS',
      policy: 'classes: { console: { tls: TLSv1.3 } }',
      cause: 'class',
      sentence: /not to console.*newer TLS/,
    },
  ),
  refused(ATTACK, {
    title: 'rule hit',
    cause: 'rule',
    sentence: /refused by rule [a-z-]+ \(.*\), which matched args\.file of \/automate/,
    mend: 'try',
  }),
  {
    title: 'an exception from a rule that has ended',
    happen: async ({ bench, ask }) => {
      bench.mergePolicy(
        `rules: { exceptions: [{ rule: windows-file, paths: /automate, reason: invoice upload, owner: jo, expires: ${tomorrow(bench)} }] }`,
      )
      await bench.cli(['reload'])
      bench.advance(3 * DAY_MS)
      return ask(ATTACK)
    },
    cause: 'rule',
    sentence: /An exception from this rule that covered this ended on .* \(invoice upload; /,
    shown: /GET https:\/\/rmm\.example\.test\/automate/,
    steps: /except exactly it/,
    mend: 'try',
    retry: scene => scene.passes(ATTACK),
  },
  refused(
    { ...AGENT, serverName: OTHER_HOST, host: OTHER_HOST },
    { title: 'unknown name', cause: 'name', sentence: /asks for old\.example\.test/ },
  ),
  {
    title: 'a class with a key, and the client has none',
    policy: "classes: { console: { keys: [{ query: authtoken, value: '0123456789abcdef' }] } }",
    happen: scene => scene.ask(CONSOLE),
    cause: 'class',
    sentence: /gets in, but not to console: this part of the server needs a key/,
    steps: /Use the link or header with the key/,
    mend: () => Promise.resolve(),
    retry: scene => scene.passes({ path: '/automate?authtoken=0123456789abcdef' }),
  },
  {
    title: 'a method that the class does not take',
    policy: source =>
      `classes: { agent: { limits: { methods: [GET] } } }\nsites: { acme: { addresses: [${source}], classes: { agent: { limits: { methods: [GET] } } } } }`,
    happen: scene => scene.ask(CHECK_IN),
    cause: 'class',
    sentence: /the method is not among those/,
    steps: /^If the product needs this method, let the class take it at this site:$/,
    mend: 'try',
    retry: async scene => (await scene.passes(CHECK_IN)) && (await scene.passes(AGENT)),
  },
  refused(LONG, {
    title: 'a body that is too large',
    policy: 'classes: { agent: { limits: { maxBody: 1KiB } } }',
    cause: 'body',
    sentence: /sends a body that agent does not take \(once\)/,
    shown: /1500|1024/,
    steps: /raise the limit for this site/,
    mend: 'try',
  }),
  {
    title: 'a body in a coding that rules cannot read',
    policy: 'rules: { modes: { windows-file: detect } }',
    happen: scene => scene.ask(ODD_CODING),
    cause: 'body',
    sentence: /sends a body that console does not take/,
    steps: /rules then see only a part of it/,
    mend: 'try',
    retry: async scene => {
      const result = await scene.ask(ODD_CODING)
      return 'status' in result && result.status !== 415
    },
  },
  {
    title: 'too many connections of one address',
    policy: 'limits: { connectionsPerSource: 1 }',
    happen: async ({ bench, ask }) => {
      // A long poll, which ends when an agent checks in.
      const polling = ask({ path: '/LabTech/Agent.aspx/practice/poll?ms=60000', settle: false })
      while (bench.portcullis.gate.counts().open === 0) await new Promise(setImmediate)
      const refusal = await ask({ ...CHECK_IN, settle: false })
      polls.push(polling)
      return refusal
    },
    cause: 'capacity',
    sentence: /too many connections open at once/,
    mend: 'try',
    retry: async ({ bench, passes }) => {
      const isIn = await passes({ ...CHECK_IN, settle: false })
      const result = await polls.pop()
      await bench.settled()
      return isIn && result !== undefined && 'status' in result
    },
  },
  {
    title: 'a ban in the policy file, beaten by an allow',
    policy: source => `bans: [{ address: ${source}, reason: scans, owner: jane }]`,
    happen: scene => scene.ask(AGENT),
    cause: 'banned',
    sentence: /banned without an end: scans \(by jane, .*portcullis\.yaml:\d+/,
    steps:
      /^Remove the ban at policies\/portcullis\.yaml:\d+:\d+, or: bin\/portcullis allow 216\.160\.83\.\d+ /,
    mend: ({ bench, source }) => bench.cli(['allow', source, '--reason', 'the office']),
    retry: scene => scene.passes(AGENT),
  },
  {
    title: 'banned by an operator for two hours',
    happen: ({ bench, source, ask }) =>
      bench
        .cli(['ban', source, '--reason', 'password guessing', '--owner', 'jane', '--for', '2h'])
        .then(() => ask()),
    cause: 'banned',
    sentence: /is banned until \d{4}-\d\d-\d\d \d\d:\d\d UTC: password guessing .*jane/,
    steps: /^If the ban is not meant for this client, lift it: bin\/portcullis unban 216\.160\.83\.\d+$/,
    mend: ({ bench, source }) => bench.cli(['unban', source]),
    retry: scene => scene.passes(),
  },
  {
    title: 'banned from one class only: agents pass',
    happen: async ({ bench, source, ask }) => {
      await bench.cli(['ban', source, '--reason', 'password guessing', '--class', 'console'])
      await ask(CONSOLE)
      bench.advance(1_000)
      return ask(AGENT)
    },
    cause: 'banned',
    sentence: /banned from console/,
    mend: ({ bench, source }) => bench.cli(['unban', source]),
    retry: scene => scene.passes(CONSOLE),
  },
]

const polls: ReturnType<Scene['ask']>[] = []
