// Address strings as agents keep them, good and bad, and the vocabulary of failures.
import test from 'ava'
import { failsOver, failureOf } from '../../src/practice/agent-failure.ts'
import { parseServerAddresses } from '../../src/practice/server-address.ts'

test('primary and secondary are split, https is the default scheme', t => {
  t.deepEqual(parseServerAddresses('https://gate.example.test|http://192.0.2.7|RMM.example.test:8443'), [
    { protocol: 'https', host: 'gate.example.test', port: 443 },
    { protocol: 'http', host: '192.0.2.7', port: 80 },
    { protocol: 'https', host: 'rmm.example.test', port: 8443 },
  ])
})

for (const text of [
  '',
  'https://a|',
  'https://a/',
  'https://a/LabTech',
  'ftp://a',
  'https://a https://b',
  'https://a,https://b',
  'https://-a',
  'https://a..b',
  'https://1.2.3',
  'https://1.2.3.400',
  'https://a:0',
  'https://a:70000',
]) {
  test(`the address string "${text}" is malformed`, t => t.is(typeof parseServerAddresses(text), 'string'))
}

test('errors get the name that an administrator would use', t => {
  const named = (code: string): string => failureOf(Object.assign(new Error('x'), { code }))
  t.is(named('ECONNREFUSED'), 'refused')
  t.is(named('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'alert:protocol_version')
  t.is(named('ERR_SSL_TLSV1_UNRECOGNIZED_NAME'), 'alert:unrecognized_name')
  t.is(named('ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE'), 'alert:handshake_failure')
  t.is(named('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'alert:certificate_required')
  t.is(named('ERR_SSL_WRONG_VERSION_NUMBER'), 'tls')
  t.is(named('SOMETHING'), 'other:SOMETHING')
  t.is(failureOf('text'), 'other:text')
})

test('only a failing connection makes an agent change servers', t => {
  for (const failure of [
    'refused',
    'reset',
    'timeout',
    'certificate',
    'tls',
    'alert:access_denied',
  ] as const) {
    t.true(failsOver(failure), failure)
  }
  for (const failure of ['http:403', 'http:503', 'bad-answer'] as const) t.false(failsOver(failure), failure)
})
