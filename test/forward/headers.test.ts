// Header translation in both directions: what is removed, what is added, what is rewritten, and that nothing can be smuggled.
import test from 'ava'
import * as fc from 'fast-check'
import {
  headersForDownstream,
  headersForUpstream,
  trailersToForward,
  type Way,
} from '../../src/forward/headers.ts'
import { testProfile, upstreamGroup, at } from '../support/snapshot.ts'
import type { UpstreamGroup, UpstreamMember } from '../../src/policy/snapshot.ts'

const member: UpstreamMember = {
  id: 'rmm/primary',
  origin: { protocol: 'http', host: 'rmm-inner.corp.example', port: 8080 },
  tls: null,
  at: at(1),
}
const group: UpstreamGroup = { ...upstreamGroup([1]), members: [member] }

function way(overrides: Partial<Way> = {}): Way {
  return {
    profile: testProfile,
    group,
    member,
    host: 'rmm.example.test',
    clientAddress: '198.51.100.7',
    ...overrides,
  }
}

function get(headers: readonly string[], name: string): string[] {
  return headers.filter((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name)
}

test('hop-by-hop headers and everything that Connection names go no further', t => {
  const raw = [
    'Host',
    'rmm.example.test',
    'Connection',
    'keep-alive, X-Drop',
    'X-Drop',
    '1',
    'Keep-Alive',
    'timeout=5',

    'Proxy-Authorization',
    'Basic x',
    'Proxy-Connection',
    'keep-alive',
    'Proxy',
    'http://evil',
    'TE',
    'gzip',

    'Trailer',
    'X',
    'Transfer-Encoding',
    'chunked',
    'Content-Length',
    '5',
    'Upgrade',
    'h2c',
    'Expect',
    '100-continue',
    'HTTP2-Settings',
    'AAA',
    'Content_Length',
    '7',
    'User-Agent',
    'Agent/1',
  ]
  t.deepEqual(headersForUpstream(raw, way({ profile: { ...testProfile, forwardedHeaders: [] } })), [
    'Host',
    'rmm.example.test',
    'User-Agent',
    'Agent/1',
  ])
})

test('a Connection header cannot strip end-to-end essentials', t => {
  const raw = [
    'Connection',
    'host, Authorization, cookie, content-type, sec-websocket-key, x-forwarded-for, close',
    'Authorization',
    'Bearer a',
    'Cookie',
    'a=b',
    'Content-Type',
    'text/xml',
    'Sec-WebSocket-Key',
    'k',
  ]
  const out = headersForUpstream(raw, way())
  for (const name of [
    'host',
    'authorization',
    'cookie',
    'content-type',
    'sec-websocket-key',
    'x-forwarded-for',
  ]) {
    t.is(get(out, name).length, 1, name)
  }
  t.deepEqual(
    get(headersForDownstream(['Connection', 'Set-Cookie', 'Set-Cookie', 'a=b; Secure'], way()), 'set-cookie'),
    ['a=b; Secure'],
  )
})

const LIES = [
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded',

  'X-Forwarded-Server',
  'X-Forwarded-Prefix',
  'X-Real-IP',
  'True-Client-IP',
  'CF-Connecting-IP',
  'X-Client-IP',
  'X-Cluster-Client-IP',
  'Fastly-Client-IP',
  'X-Original-URL',
  'X-Original-For',
  'X-Original-Host',

  'X-Rewrite-URL',
  'X_Forwarded_For',
  'x_real_ip',
  'X.Forwarded.For',
  'CF_Connecting_IP',
  'X-Forwarded_For',
  'X-SSL-Client-Cert',
  'X-ARR-ClientCert',
  'Client-IP',
  'X-Remote-Addr',
  'True_Client-IP',
]

test('trap 40: the whole client-address family is replaced, in every spelling, by the true address', t => {
  const raw = LIES.flatMap(name => [name, '203.0.113.66'])
  const profile = {
    ...testProfile,
    forwardedHeaders: [
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-forwarded-host',
      'x-real-ip',
      'forwarded',
    ] as const,
  }
  t.deepEqual(
    headersForUpstream(raw, way({ profile, clientAddress: '2001:db8::7', host: 'rmm.example.test:8443' })),
    [
      'Host',
      'rmm.example.test:8443',
      'X-Forwarded-For',
      '2001:db8::7',
      'X-Forwarded-Proto',
      'https',
      'X-Forwarded-Host',
      'rmm.example.test:8443',
      'X-Real-IP',
      '2001:db8::7',
      'Forwarded',
      'for="[2001:db8::7]";host="rmm.example.test:8443";proto=https',
    ],
  )
  t.deepEqual(headersForUpstream(raw, way({ profile: { ...testProfile, forwardedHeaders: [] } })), [
    'Host',
    'rmm.example.test',
  ])
})

test('trap 40: property: whatever a client sends, the upstream sees one Host and one true address', t => {
  const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/)
  const scrambled = fc
    .tuple(fc.constantFrom(...LIES), fc.infiniteStream(fc.constantFrom('-', '_', '.', '~')), fc.boolean())
    .map(([name, separators, upper]) => {
      const respelt = name.replace(/[-_.]/g, () => separators.next().value as string)
      return upper ? respelt.toUpperCase() : respelt.toLowerCase()
    })
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom('close, x-forwarded-for', 'host', '6.6.6.6', 'a\r\nX-Real-IP: 6.6.6.6'),
  )
  const name = fc.oneof(
    token,
    scrambled,
    fc.constantFrom('Host', 'Connection', 'Transfer-Encoding', 'content-length'),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 20 }), headers => {
      const out = headersForUpstream(headers.flat(), way())
      t.deepEqual(get(out, 'host'), ['rmm.example.test'])
      t.deepEqual(get(out, 'x-forwarded-for'), ['198.51.100.7'])
      for (let index = 0; index < out.length; index += 2) {
        const spelt = (out[index] ?? '').toLowerCase().replace(/[^a-z0-9-]/g, '-')
        t.false(/[\r\n\0]/.test(out[index + 1] ?? ''))
        t.false(/^(?:transfer-encoding|content-length|connection|te|upgrade|proxy.*)$/.test(spelt), spelt)
        if (index < out.length - 6 && index > 0) t.false(spelt.startsWith('x-forwarded'), spelt)
      }
      t.is(out.length % 2, 0)
    }),
  )
})

test('Host is preserved or rewritten as the group says', t => {
  const rewrite: UpstreamGroup = { ...group, hostHeader: 'rewrite' }
  t.deepEqual(get(headersForUpstream(['HOST', 'evil', 'host', 'evil2'], way()), 'host'), ['rmm.example.test'])
  t.deepEqual(get(headersForUpstream([], way({ group: rewrite })), 'host'), ['rmm-inner.corp.example:8080'])
  const v6: UpstreamMember = { ...member, origin: { protocol: 'https', host: 'fd00::1', port: 443 } }
  t.deepEqual(get(headersForUpstream([], way({ group: rewrite, member: v6 })), 'host'), ['[fd00::1]'])
})

for (const [value, expected] of [
  ['http://rmm-inner.corp.example:8080/a?b=1#c', 'https://rmm.example.test/a?b=1#c'],
  ['HTTP://RMM-INNER.corp.example/a', 'https://rmm.example.test/a'],
  ['//rmm-inner.corp.example:8080/a', 'https://rmm.example.test/a'],
  ['https://user:pw@rmm-inner.corp.example/a', 'https://rmm.example.test/a'],
  ['http://rmm-inner.corp.example:8080', 'https://rmm.example.test'],
  ['http://rmm.example.test/login', 'https://rmm.example.test/login'],
  ['http://rmm.example.test:8080/login', 'https://rmm.example.test/login'],
  ['http://10.1.2.3:8040/x', 'https://rmm.example.test/x'],
  ['https://192.168.0.9/', 'https://rmm.example.test/'],
  ['http://[fd00::5]:81/x', 'https://rmm.example.test/x'],
  ['http://127.0.0.1\\@10.0.0.1/x', 'https://rmm.example.test\\@10.0.0.1/x'],
  ['http://RMMSRV01/automate', 'https://rmm.example.test/automate'],
  ['http://localhost:9000/', 'https://rmm.example.test/'],
] as const) {
  test(`trap 19: Location ${value} leaves as ${expected}`, t => {
    t.deepEqual(headersForDownstream(['Location', value], way()), ['Location', expected])
    t.deepEqual(headersForDownstream(['Content-Location', value], way()), ['Content-Location', expected])
    t.deepEqual(headersForDownstream(['Refresh', `3; url=${value}`], way()), [
      'Refresh',
      `3; url=${expected}`,
    ])
  })
}

for (const value of [
  '/relative',
  'page.aspx?u=http://10.0.0.1/',
  'https://login.example.org/sso',
  'https://rmm.example.test/x',

  'http://rmm.example.test:8040/relay',
  'http://rmm-inner.corp.example:9999/other',
  'http://203.0.113.9/',
  '',
  '//',
  'mailto:a@10.0.0.1',
  'http://rmm.example.test.evil.example/',
]) {
  test(`Location ${JSON.stringify(value)} stays as it is`, t => {
    t.deepEqual(headersForDownstream(['Location', value], way()), ['Location', value])
  })
}

for (const [value, expected] of [
  ['a=b', 'a=b; Secure'],
  ['a=b; Path=/; SECURE; HttpOnly', 'a=b; Path=/; SECURE; HttpOnly'],
  ['a=b; Domain=rmm-inner.corp.example; Path=/', 'a=b; Path=/; Secure'],
  ['a=b; domain=.RMM-inner.corp.example; secure', 'a=b; secure'],
  ['a=b; Domain=10.0.0.1', 'a=b; Secure'],
  ['a=b; Domain=example.test', 'a=b; Domain=example.test; Secure'],
  ['secure; Path=/', 'secure; Path=/; Secure'],
] as const) {
  test(`Set-Cookie ${value} leaves as ${expected}`, t => {
    t.deepEqual(headersForDownstream(['Set-Cookie', value], way()), ['Set-Cookie', expected])
  })
}

test('responses lose hop-by-hop headers, framing, Alt-Svc and the version headers of the profile', t => {
  const raw = [
    'Server',
    'Microsoft-IIS/10.0',
    'X-Powered-By',
    'ASP.NET',
    'Connection',
    'close, X-Hop',
    'X-Hop',
    '1',

    'Transfer-Encoding',
    'chunked',
    'Content-Length',
    '3',
    'Alt-Svc',
    'h3=":443"',
    'Content-Type',
    'text/plain',
    'X-Split',
    'a\r\nSet-Cookie: evil=1',
    'X-Nul',
    'a\0b',
  ]
  t.deepEqual(headersForDownstream(raw, way()), ['Content-Type', 'text/plain'])
})

test('trailers cannot carry what belongs into a head', t => {
  const raw = [
    'Digest',
    'x',
    'Content-Length',
    '9',
    'X-Forwarded-For',
    '6.6.6.6',
    'Cookie',
    'a=b',
    'Host',
    'evil',
    'X-A',
    'a\nb',
  ]
  t.deepEqual(trailersToForward(raw), ['Digest', 'x'])
})
