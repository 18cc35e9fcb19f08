// Requirements and the scanner never miss a text that a pattern matches, and say no often enough to be of use.
import test from 'ava'
import { array, assert, property } from 'fast-check'
import { compilePattern, isPattern } from '../../../src/ips/regex/compile.ts'
import type { Requirement } from '../../../src/ips/regex/requirement.ts'
import { createScanner } from '../../../src/ips/regex/scanner.ts'
import type { Pattern, Scanner } from '../../../src/ips/regex/types.ts'
import { flags, patterns, texts } from './generate.ts'

function compiled(source: string): Pattern {
  const pattern = compilePattern(source)
  if (!isPattern(pattern)) throw new Error(pattern.message)
  return pattern
}

function isMet(requirement: Requirement, text: string): boolean {
  return requirement.some(sequence => {
    for (let at = 0; at + sequence.length <= text.length; at++) {
      const fits = sequence.every((set, i) => {
        const unit = text.charCodeAt(at + i)
        return set.some(([first, last]) => unit >= first && unit <= last)
      })
      if (fits) return true
    }
    return false
  })
}

function says(scanner: Scanner, text: string, number: number): boolean {
  const bits = scanner.scan(text)
  return (((bits[number >> 5] ?? 0) >>> (number & 31)) & 1) === 1
}

test('a text that matches meets the requirement, and the scanner says so', t => {
  let useful = 0
  let quiet = 0
  assert(
    property(
      array(patterns, { minLength: 1, maxLength: 4 }),
      flags,
      array(texts, { minLength: 4, maxLength: 8 }),
      (sources, given, list) => {
        const all = sources.map(source => compilePattern(source, given)).filter(isPattern)
        const asked = all.filter(pattern => pattern.requirement !== null)
        const scanner = createScanner(asked.map(pattern => pattern.requirement ?? []))
        for (const text of list) {
          for (const [number, pattern] of asked.entries()) {
            const met = isMet(pattern.requirement ?? [], text)
            const said = says(scanner, text, number)
            if (met && !said) return false
            if (pattern.test(text)) {
              if (!met) return false
              useful++
            } else if (!said) quiet++
          }
        }
        return true
      },
    ),
    { numRuns: 1000, seed: 11 },
  )
  t.true(useful > 200, `${useful} matches with a requirement`)
  t.true(quiet > 700, `${quiet} times spared`)
})

test('a requirement names the rarest text that must be there', t => {
  const words = (source: string): readonly string[] | undefined =>
    compiled(source).requirement?.map(sequence =>
      sequence.map(set => String.fromCharCode(set.at(-1)?.[1] ?? 0)).join(''),
    )
  t.deepEqual(words('(?:etc/passwd|win\\.ini)$')?.toSorted(), ['c/passwd', 'win.ini'])
  t.deepEqual(words('(?i)\\bxp_(?:cmdshell|dirtree)'), ['xp_cmdsh', 'xp_dirtr'])
  t.deepEqual(words('.*<script[^>]*>'), ['<script'])
  t.is(words('.*'), undefined)
  t.is(words('a?b*'), undefined)
  t.is(words('^$'), undefined)
  t.is(words('\\w+'), undefined)
})

test('a scanner of many long lists stays within its memory and misses nothing', t => {
  const words = Array.from({ length: 30_000 }, (_, i) => `${(i * 7919).toString(36)}-${i.toString(36)}`)
  const requirement = words.map(word =>
    Array.from(word, char => [[char.charCodeAt(0), char.charCodeAt(0)]] as const),
  )
  const scanner = createScanner([requirement, compiled('zzzz~').requirement ?? []])
  for (const word of words.filter((_, i) => i % 97 === 0)) t.true(says(scanner, `== ${word} ==`, 0))
  t.false(says(scanner, 'zzz', 1))
  t.true(says(scanner, 'zzzz~', 1))
})
