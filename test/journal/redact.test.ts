// Secrets never reach a record, and nothing recorded can forge a line or play with a terminal.
import test from 'ava'
import * as fc from 'fast-check'
import {
  escapeControls,
  isSecretName,
  REDACTED,
  redactFields,
  redactPath,
  redactQuery,
  redactText,
} from '../../src/journal/redact.ts'

const SECRET = 'S3cr3tValue9x'
const secretNames = [
  'InstallerToken',
  'ServerPassword',
  'SERVERPASS',
  'db_pass',
  'passkey',
  'authtoken',
  'apitoken',
  'api_key',
  'x-api-key',
  'Password',
  'pwd',
  'gatewayKey',
  'GATEWAY_KEY',
  'access_token',
  'client_secret',
  'SessionId',
  'Authorization',
]

for (const name of secretNames) {
  test(`trap 39: the value of ${name} is redacted wherever it stands`, t => {
    t.true(isSecretName(name))
    const places = [
      redactQuery(`a=1&${name}=${SECRET}&b=2`),
      redactQuery(`${encodeURIComponent(name).replace('e', '%65')}=${SECRET}`),
      redactPath(`/LabTech/Deployment.aspx?${name}=${SECRET}`),
      redactPath(`/x;${name}=${SECRET}/y`),
      redactText(`${name}=${SECRET}`),
      redactText(`${name}: ${SECRET}`),
      redactText(`{"${name}":"${SECRET} and more", "b": 1}`),
      redactText(`{'${name}': '${SECRET}'}`),
      redactText(`{\\"${name}\\":\\"${SECRET}\\"}`),
      redactText(`a=1&${name}[0]=${SECRET}&${name}[]=${SECRET}`),
      redactText(`<${name}>${SECRET}</${name}>`),
      redactText(`<a:${name} type="string">${SECRET}</a:${name}>`),
      redactText(`x=1&${name}%3D${SECRET}%26y`),
      redactText(`%22${name}%22%3A%22${SECRET}%22`),
      JSON.stringify(
        redactFields({ problem: `bad ${name}=${SECRET}`, deep: [{ value: `${name}:${SECRET}` }] }),
      ),
      JSON.stringify(redactFields({ [name]: SECRET })),
    ]
    for (const place of places) {
      t.false(place.includes(SECRET), place)
      t.true(place.includes(REDACTED), place)
    }
  })
}

test('trap 39: bearer values, basic credentials, cookies, JWTs and user-info go; what helps support stays', t => {
  t.is(redactText('sent bearer abcdefg now'), `sent bearer ${REDACTED} now`)
  t.is(redactText('Authorization: Basic dXNlcjpwYXNz'), `Authorization: ${REDACTED}`)
  t.is(redactText('eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_d'), REDACTED)
  t.is(redactText('https://user:pass@host/'), `https://${REDACTED}@host/`)
  t.is(redactPath(`/api/token/${SECRET}`), `/api/token/${REDACTED}`)
  t.is(redactPath('/a/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc'), `/a/${REDACTED}`)
  t.is(redactQuery('v=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc'), `v=${REDACTED}`)
})

test('keys that say what they are, private keys, and passwords that stand unnamed in a command line go', t => {
  const hidden = 'Zx9Hidden7'
  for (const text of [
    `x AKIAIOSFODNN7EXAMPLE y`,
    'ghp_16C7e42F292c6912E771'.toLowerCase(),
    `glpat-${hidden}-${hidden}`,
    `xoxb-${hidden}-${hidden}`,
    `sk_live_${hidden}${hidden}`,
    `-----BEGIN RSA PRIVATE KEY-----\nMII${hidden}`,
    `net user bob ${hidden} /add`,
    `cmd /c net1 user bob ${hidden}`,
    `mysql -uroot -p${hidden} rmm`,
    `mysqldump --all -p ${hidden}`,
    `sshpass -p ${hidden} ssh x`,
    `curl -s -u bob:${hidden} https://x/`,
    `xfreerdp /u:bob /p:${hidden} /v:x`,
    `psexec \\\\x -u bob -p ${hidden} cmd`,
  ])
    t.notRegex(redactText(text), /zx9hidden7|IOSFODNN7|16c7e42/i, text)
})

test('ordinary things are recorded as they are', t => {
  for (const path of [
    '/LabTech/Agent.aspx',
    '/labtech/transfer/tools/a%20b.exe',
    '/agent.ashx',
    '/',
    '/a/b;c/d.js',
  ])
    t.is(redactPath(path), path)
  for (const query of ['', 'id=17&name=PC-17', 'q=a+b%20c', 'a&b;c=d', '||||||220.105'])
    t.is(redactQuery(query), query)
  for (const text of [
    'country DE',
    'offered TLSv1, TLSv1.1',
    'connect ECONNREFUSED 10.0.0.5:443',
    'Basic authentication failed',
    'rule bypass: /x',
    'passed: 3, passing: 4',
    'net user bob /delete',
    'nmap -p 443 host',
    'curl -s https://x/',
    'asia pacific',
  ])
    t.is(redactText(text), text)
  const fields = {
    ja4: 't13d1516h2_8daaf6152771_b186095e22b6',
    id: 'a'.repeat(40),
    n: 1,
    ok: true,
    none: null,
  }
  t.deepEqual(redactFields(fields), fields)
})

const nasty = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc
    .array(
      fc.constantFrom(
        '\n',
        '\r',
        '\u001b[31m',
        '\u009b2J',
        '\u202e',
        '\u2066',
        '\u200b',
        '\u2028',
        '\ud800',
        '\u{e0041}',
        'a',
        '%0a',
        '=',
      ),
    )
    .map(parts => parts.join('')),
)
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

test('property: whatever comes in, no control, bidi, invisible or broken character goes out', t => {
  fc.assert(
    fc.property(nasty, text => {
      const outs = [
        escapeControls(text),
        redactText(text),
        redactQuery(text),
        redactPath(text),
        ...Object.values(redactFields({ path: text, host: text, saw: text, line: text })).map(String),
      ]
      return outs.every(out => !UNSAFE.test(out))
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})

test('property: a secret between any neighbours is found in a query', t => {
  const part = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_.~%='.split('')), maxLength: 12 })
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 4 }),
      fc.array(part, { maxLength: 4 }),
      fc.constantFrom(...secretNames),
      (before, after, name) => {
        const query = [...before, `${name}=${SECRET}`, ...after].join('&')
        return !redactQuery(query).includes(SECRET) && !redactPath(`/p?${query}`).includes(SECRET)
      },
    ),
    { numRuns: 1_000 },
  )
  t.pass()
})

test('property: recorded text stays bounded, also for texts made to make a search backtrack', t => {
  const hard = [
    'a'.repeat(100_000),
    'password'.repeat(20_000),
    '<'.repeat(50_000),
    'eyJ'.repeat(50_000),
    '%253d'.repeat(20_000),
    'pass'.repeat(9_000) + '=',
    ':'.repeat(50_000),
  ]
  for (const text of hard) {
    t.true(redactText(text).length < 40_000)
    t.true(redactQuery(text).length < 40_000)
    t.true(redactPath(text).length < 40_000)
  }
  t.is((redactFields({ list: Array.from({ length: 1_000 }, () => 'x') })['list'] as string[]).length, 64)
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  t.notThrows(() => JSON.stringify(redactFields(loop)))
})

test('a problem of the policy keeps its place, however long the path is, and loses the secret that it quotes', t => {
  const place = '/srv/portcullis-2026/rmm7-gate-of-acme-dental/policies/portcullis.yaml:3:1: '
  const { problems } = redactFields({
    problems: [`${place}"sha256/47DEQpj8HBSa0TImW5JCeuQeRkm5NMpJWZG3hSuFU1" is no pin`],
  })
  t.deepEqual(problems, [`${place}"[redacted]" is no pin`])
})
