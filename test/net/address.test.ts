// Addresses: the same answers as node:net, one spelling each, and the scope of special networks.
import { isIP, isIPv4, SocketAddress } from 'node:net'
import test from 'ava'
import * as fc from 'fast-check'
import { addressFromBytes, addressScope, parseAddress } from '../../src/net/address.ts'

const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))

test('every text that node:net takes for an address is parsed, and nothing else', t => {
  const mutated = fc
    .tuple(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6(),
        octets.map(quad => `::ffff:${quad.join('.')}`),
      ),
      fc.constantFrom('', '.', ':', '0', '%eth0', ' ', 'g', '/', '1'),
      fc.nat(40),
    )
    .map(([text, insert, at]) => text.slice(0, at) + insert + text.slice(at))
  fc.assert(
    fc.property(
      fc.oneof(mutated, fc.string({ unit: fc.constantFrom('0', '1', '2', '9', 'a', 'f', '.', ':') })),
      text => {
        // A zone names an interface of this machine; no peer address has one here.
        const expected = isIP(text) !== 0 && !text.includes('%')
        t.is(parseAddress(text) !== undefined, expected, text)
      },
    ),
    { numRuns: 3000 },
  )
})

test('an address has one text: the canonical one of node:net', t => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), text => {
      const parsed = parseAddress(text)
      if (parsed === undefined) throw new Error(text)
      t.deepEqual(parseAddress(parsed.text), parsed)
      if (parsed.family === 4) {
        t.true(isIPv4(parsed.text))
        return
      }
      const canonical = new SocketAddress({ address: text, family: 'ipv6' }).address
      t.deepEqual(parseAddress(canonical), parsed)
      // RFC 5952: lower case, no leading zeros, the longest run of zeros shortened, never a single group.
      t.notRegex(parsed.text, /[A-Z]|(?:^|:)0[0-9a-f]|(?:^|:)0:0(?::|$)(?!.*::)/)
    }),
  )
  t.is(parseAddress('2001:DB8:0:0:1:0:0:1')?.text, '2001:db8::1:0:0:1')
  t.is(parseAddress('2001:db8:0:1:1:1:1:1')?.text, '2001:db8:0:1:1:1:1:1')
  t.is(parseAddress('::')?.text, '::')
})

test('an IPv4-mapped address is the IPv4 address in every spelling', t => {
  fc.assert(
    fc.property(octets, quad => {
      const text = quad.join('.')
      const [a, b, c, d] = quad
      const hex = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
      const plain = parseAddress(text)
      t.deepEqual(parseAddress(`::ffff:${text}`), plain)
      t.deepEqual(parseAddress(hex), plain)
      t.deepEqual(parseAddress(`0:0:0:0:0:FFFF:${text}`), plain)
      t.deepEqual(addressFromBytes(Uint8Array.from([...new Uint8Array(10), 255, 255, ...quad])), plain)
      t.deepEqual(addressFromBytes(Uint8Array.from(quad)), plain)
    }),
  )
  t.is(addressFromBytes(new Uint8Array(5)), undefined)
})

test('ambiguous and foreign spellings are not addresses', t => {
  for (const text of [
    '010.0.0.1',
    '1.2.3',
    '0x7f.1',
    '1.2.3.256',
    '1.2.3.4.5',
    '::1%lo',
    ':::',
    '1::2::3',
    '',
    '[::1]',
  ]) {
    t.is(parseAddress(text), undefined, text)
  }
})

test('scopes follow the special-purpose registries', t => {
  const scopes: Record<string, string[]> = {
    loopback: ['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1'],
    private: [
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.9.9',
      'fc00::1',
      'fd12::1',
      'fec0::1',
      '64:ff9b:1::1',
    ],
    cgnat: ['100.64.0.1', '100.127.255.255'],
    'link-local': ['169.254.1.1', 'fe80::1', 'febf::1'],
    reserved: ['0.0.0.0', '224.0.0.1', '255.255.255.255', '240.0.0.1', '::', '::7f00:1', 'ff02::1'],
    public: [
      '100.63.255.255',
      '100.128.0.1',
      '172.15.0.1',
      '172.32.0.1',
      '8.8.8.8',
      '2001:db8::1',
      '192.169.0.1',
    ],
  }
  for (const [scope, texts] of Object.entries(scopes)) {
    for (const text of texts) {
      const address = parseAddress(text)
      t.is(address && addressScope(address), scope as never, text)
    }
  }
})
