// Invitations: R1 and R3 on tickets of XP and of Vista and later; nothing else of a file changes; hostile files are refused.
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import test from 'ava'
import { rewriteInvitation } from '../../src/cli/invitation.ts'
import { startBench } from './support.ts'

const file = (addresses: string, more = ''): string =>
  `<?xml version="1.0" encoding="Unicode" ?>\r\n<UPLOADINFO TYPE="Escalated"><UPLOADDATA USERNAME="j\u00f6" RCTICKET="65538,1,${addresses},*,uLqRZ+dY=,*,*,v5lP8=" RCTICKETENCRYPTED="0" ${more} L="1" /></UPLOADINFO>\r\n`
const rewritten = (text: string): string => {
  const result = rewriteInvitation(Buffer.from(text, 'latin1'), '198.51.100.7:51000')
  return typeof result === 'string' ? result : result.bytes.toString('latin1')
}

test('R1, R3: private addresses give way to the public one, whatever their port; the rest stays byte for byte', t => {
  const cases: readonly (readonly [string, string])[] = [
    ['10.0.0.5:3389', '198.51.100.7:51000'],
    ['192.168.1.20:51930;PC-17:51930', '198.51.100.7:51000;PC-17:51930'],
    ['[fe80::1%8]:51930;192.168.1.20:51930;8.8.8.8:3389', '198.51.100.7:51000;8.8.8.8:3389'],
    ['fd00::17:51930', '198.51.100.7:51000'],
  ]
  for (const [before, after] of cases) t.is(rewritten(file(before)), file(after))
  const wide = Buffer.from(`\ufeff${file('10.0.0.5:3389')}`, 'utf16le')
  const result = rewriteInvitation(wide, 'help.example.com:51000')
  if (typeof result === 'string') return t.fail(result)
  t.is(result.bytes.toString('utf16le'), `\ufeff${file('help.example.com:51000')}`)
  t.deepEqual(result.target, { host: '10.0.0.5', port: 3389 })
})

test('R1: what has no private address, or is no invitation, stays as it is', t => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [file('147.100.100.27:3389'), /no private address/],
    [file('PC-17:3389'), /no private address/],
    [file('10.0.0.5'), /no address with a port/],
    [file('10.0.0.5:99999'), /no address with a port/],
    [file('10.0.0.5:3389;<x>'), /no ticket/],
    [file('10.0.0.5:3389', 'RCTICKET="65538,1,10.0.0.6:3389,*"'), /more than one ticket/],
    [file('10.0.0.5:3389').replace('CRYPTED="0"', 'CRYPTED="1"'), /encrypted/],
    [file(Array.from({ length: 33 }, () => '10.0.0.5:3389').join(';')), /more than 32/],
    [`<!DOCTYPE x [<!ENTITY a "b">]>${file('10.0.0.5:3389')}`, /entities/],
    [`<!-- ${file('10.0.0.5:3389')} -->`, /comments/],
    [file('10.0.0.5:3389').padEnd(70_000), /too large/],
    ['', /no ticket/],
  ]
  for (const [text, why] of cases) t.regex(rewritten(text), why)
})

test('any bytes: an answer, and never a changed byte outside of the addresses', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (before, after) => {
      const middle = Buffer.from(' RCTICKET="65538,1,10.0.0.5:3389,*"', 'latin1')
      const result = rewriteInvitation(Buffer.concat([before, middle, after]), 'h:1')
      if (typeof result === 'string') return true
      const wanted = Buffer.concat([before, Buffer.from(' RCTICKET="65538,1,h:1,*"', 'latin1'), after])
      return result.bytes.equals(wanted)
    }),
    { seed: 20_261_121 },
  )
  t.pass()
})

test('the command shows before and after, writes a new file for its owner only, and says that it opened nothing', async t => {
  const bench = startBench(t)
  const path = join(bench.root, 'Invitation.msrcincident')
  writeFileSync(path, file('10.0.0.5:3389'))
  const words = ['rewrite-invitation', path, '--public', '198.51.100.7:51000']
  const { code, out } = await bench.cli(words)
  t.is(code, 0)
  t.regex(out, /before +10\.0\.0\.5:3389\nafter +198\.51\.100\.7:51000\n[^]*No forward was made/)
  const written = join(bench.root, 'Invitation-public.msrcincident')
  t.is(readFileSync(written, 'utf8'), file('198.51.100.7:51000'))
  t.is(statSync(written).mode & 0o777, 0o600)
  t.is(readFileSync(path, 'utf8'), file('10.0.0.5:3389'))
  t.regex((await bench.cli(words)).err, /cannot be written/)
  t.regex((await bench.cli(['rewrite-invitation', path])).err, /where will the PC be reached/)
  t.regex((await bench.cli(['rewrite-invitation', path, '--public', '[::x]:1'])).err, /not a public address/)
})
