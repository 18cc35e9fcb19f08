// Address ranges, and the trie against node:net's BlockList as the oracle.
import { BlockList } from 'node:net'
import test from 'ava'
import * as fc from 'fast-check'
import { addressFromBytes, parseAddress, type Address } from '../../src/net/address.ts'
import { cidrContains, CidrTrie, parseCidr, type Cidr } from '../../src/net/cidr.ts'

// Few distinct bytes, so that ranges nest and addresses fall into them.
const byte = fc.oneof(fc.constantFrom(0, 1, 10, 127, 128, 255), fc.nat(255))
const address = fc
  .oneof(fc.array(byte, { minLength: 4, maxLength: 4 }), fc.array(byte, { minLength: 16, maxLength: 16 }))
  .map(bytes => addressFromBytes(Uint8Array.from(bytes)) as Address)

function masked(base: Address, prefix: number): Cidr {
  const words = base.words.map((word, index) => {
    const left = Math.min(32, Math.max(0, prefix - index * 32))
    return left === 0 ? 0 : (word & (0xffffffff << (32 - left))) >>> 0
  })
  const bytes = words.flatMap(word => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255])
  const parsed = parseCidr(`${addressFromBytes(Uint8Array.from(bytes))?.text}/${prefix}`)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}

const range = fc.tuple(address, fc.nat(128)).map(([base, bits]) => {
  const cidr = masked(base, base.family === 4 ? bits % 33 : Math.max(bits, 97))
  return cidr
})

test('trap 23: the trie agrees with BlockList and names the most specific entry, in order', t => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 12 }), address, (ranges, probe) => {
      const trie = new CidrTrie<number>()
      const oracle = new BlockList()
      for (const [index, cidr] of ranges.entries()) {
        trie.insert(cidr, index)
        oracle.addSubnet(cidr.address.text, cidr.prefix, cidr.address.family === 4 ? 'ipv4' : 'ipv6')
      }
      const covering = ranges.flatMap((cidr, index) => (cidrContains(cidr, probe) ? [index] : []))
      t.is(covering.length > 0, oracle.check(probe.text, probe.family === 4 ? 'ipv4' : 'ipv6'))
      const expected = covering.toSorted(
        (a, b) => (ranges[a]?.prefix ?? 0) - (ranges[b]?.prefix ?? 0) || a - b,
      )
      t.deepEqual(trie.matchAll(probe), expected)
      const longest = Math.max(-1, ...covering.map(index => ranges[index]?.prefix ?? -1))
      t.is(
        trie.match(probe),
        covering.find(index => ranges[index]?.prefix === longest),
      )
      // With a filter, the most specific entry that passes.
      const even = expected.filter(index => index % 2 === 0)
      const best = Math.max(-1, ...even.map(index => ranges[index]?.prefix ?? -1))
      t.is(
        trie.match(probe, index => index % 2 === 0),
        even.find(index => ranges[index]?.prefix === best),
      )
      t.is(trie.size, ranges.length)
    }),
    { numRuns: 1500 },
  )
})

test('ranges are canonical and never widened silently', t => {
  t.like(parseCidr('203.0.113.0/24'), { prefix: 24, text: '203.0.113.0/24' })
  t.like(parseCidr('203.0.113.7'), { prefix: 32, text: '203.0.113.7/32' })
  t.like(parseCidr('2001:DB8::/32'), { prefix: 32, text: '2001:db8::/32' })
  t.like(parseCidr('::ffff:10.0.0.0/104'), { prefix: 8, text: '10.0.0.0/8' })
  t.like(parseCidr('0.0.0.0/0'), { prefix: 0 })
  t.is(parseCidr('203.0.113.1/24'), 'host-bits')
  t.is(parseCidr('2001:db8::1/64'), 'host-bits')
  for (const text of [
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '::/129',
    '::ffff:10.0.0.0/8',
    '10.0.0.0/8/8',
  ]) {
    t.is(parseCidr(text), 'bad-prefix', text)
  }
  t.is(parseCidr('10.0.0/8'), 'not-an-address')
  t.is(cidrContains(parseCidr('::/0') as Cidr, parseAddress('10.0.0.1') as Address), false)
})
