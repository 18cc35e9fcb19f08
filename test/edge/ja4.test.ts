// JA4 against the examples that its authors publish.
import { hash } from 'node:crypto'
import test from 'ava'
import type { ParsedHello } from '../../src/edge/client-hello.ts'
import { createJa4, ja4 } from '../../src/edge/ja4.ts'

const sha256Hex = (text: string): string => hash('sha256', text)
const codes = (text: string): number[] => text.split(',').map(code => Number.parseInt(code, 16))

/** The Chrome hello of the published description, in the order sent, with GREASE. */
const published: ParsedHello = {
  legacyVersion: 0x0303,
  cipherSuites: codes('0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035'),
  extensions: codes(
    '2a2a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015,8a8a',
  ),
  serverName: 'example.test',
  supportedVersions: codes('3a3a,0304,0303'),
  alpn: ['h2', 'http/1.1'],
  signatureAlgorithms: codes('0403,0804,0401,0503,0805,0501,0806,0601'),
  sslv2Framing: false,
}

test('the published example gives the published fingerprint', t => {
  t.is(ja4(published, sha256Hex), 't13d1516h2_8daaf6152771_e5627efa2ab1')
})

test('order of ciphers and extensions does not matter, order of signature algorithms does', t => {
  const reversed = {
    ...published,
    cipherSuites: [...published.cipherSuites].reverse(),
    extensions: [...published.extensions].reverse(),
  }
  t.is(ja4(reversed, sha256Hex), ja4(published, sha256Hex))
  const other = { ...published, signatureAlgorithms: [...published.signatureAlgorithms].reverse() }
  t.not(ja4(other, sha256Hex), ja4(published, sha256Hex))
})

test('no name, no extensions, no ciphers and old versions have their own words', t => {
  const bare: ParsedHello = {
    ...published,
    legacyVersion: 0x0301,
    cipherSuites: [],
    extensions: [],
    supportedVersions: null,
    alpn: [],
    signatureAlgorithms: [],
  }
  t.is(ja4(bare, sha256Hex), 't10i000000_000000000000_000000000000')
  t.regex(ja4({ ...bare, legacyVersion: 0x0300 }, sha256Hex), /^ts3i/)
  t.regex(ja4({ ...bare, legacyVersion: 0x7f17 }, sha256Hex), /^t00i/)
})

const protocols: readonly (readonly [string, string])[] = [
  ['http/1.1', 'h1'],
  ['x', 'xx'],
  ['\xab', 'ab'],
  ['\x20', '20'],
  ['\xab\xcd', 'ad'],
  ['\x20\x61', '21'],
  ['\x30\xab', '3b'],
  ['\x61\x20', '60'],
  ['\x30\x31\xab\xcd', '3d'],
  ['\x30\xab\xcd\x31', '01'],
]
for (const [protocol, word] of protocols) {
  test(`ALPN ${JSON.stringify(protocol)} is written ${word}`, t => {
    t.is(ja4({ ...published, alpn: [protocol] }, sha256Hex).slice(8, 10), word)
  })
}

test('remembered fingerprints are those that are computed, whatever GREASE the client draws', t => {
  let computed = 0
  const remembered = createJa4(text => {
    computed++
    return sha256Hex(text)
  }, 3)
  const draws = ['0a0a', '1a1a', 'fafa'].map(grease => ({
    ...published,
    cipherSuites: [Number.parseInt(grease, 16), ...published.cipherSuites.slice(1)],
  }))
  for (const hello of draws) t.is(remembered(hello), ja4(hello, sha256Hex))
  t.is(computed, 2)
  const others = [
    { ...published, alpn: ['http/1.1'] },
    { ...published, supportedVersions: null },
    { ...published, extensions: published.extensions.slice(1, 5) },
    { ...published, cipherSuites: [], signatureAlgorithms: published.cipherSuites },
  ]
  for (const hello of [...others, ...draws, ...others]) t.is(remembered(hello), ja4(hello, sha256Hex))
})
