// Looks for input on which a rule stalls: long texts of one kind against every pattern, and seeded fuzz against all rules at once.
import { Engine, newRun } from '../../src/ips/engine/engine.ts'
import { inspectRequest, withBody } from '../../src/ips/parts/inspect.ts'
import type { SecCompiled, SecRule } from '../../src/ips/seclang/compile.ts'
import type { Expression, Test } from '../../src/ips/rule.ts'
import { factsOf } from './raw-request.ts'

const LENGTH = 65_536
const LIMIT_MS = 50
const FUZZ = 2_000
const MAX_SHOWN = 30

/** A repeatable source of numbers below `below` (mulberry32). */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * below
  }
}

function filled(length: number, alphabet: string, next: (below: number) => number): string {
  let out = ''
  while (out.length < length) out += alphabet.charAt(Math.floor(next(alphabet.length)))
  return out
}

function inputs(length: number): ReadonlyMap<string, string> {
  const next = seeded(1)
  return new Map([
    ['hex', filled(length, '0123456789abcdef', next)],
    ['base64', filled(length, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', next)],
    ['a', 'a'.repeat(length)],
    ['brackets', filled(length, '()[]{}<>', next)],
    ['quotes', filled(length, `'"\`\\ `, next)],
    ['words', filled(length, 'select union or and script eval ( ) ; = ', next)],
  ])
}

function testsOf(expression: Expression): readonly Test[] {
  switch (expression.kind) {
    case 'all':
    case 'any':
      return expression.parts.flatMap(testsOf)
    case 'not':
      return testsOf(expression.part)
    case 'test':
      return [expression.test]
    case 'always':
      return []
  }
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage().user
  work()
  return (process.cpuUsage().user - before) / 1000
}

// The collector of garbage comes when it likes: what stays slow three times is slow.
function steadyMs(work: () => void): number {
  let best = cpuMs(work)
  for (let again = 0; again < 2 && best > LIMIT_MS; again++) best = Math.min(best, cpuMs(work))
  return best
}

const warmMs = (work: () => void): number => Math.min(cpuMs(work), cpuMs(work), cpuMs(work))

type Slow = { readonly rule: string; readonly input: string; readonly ms: number; readonly why: string }

function slowTests(
  rule: SecRule,
  run: ReturnType<typeof newRun>,
): { readonly slow: readonly Slow[]; readonly worst: number } {
  const slow: Slow[] = []
  let worst = 0
  for (const { operator, transforms } of testsOf(rule.when)) {
    const halves = inputs(LENGTH / 2)
    for (const [input, text] of inputs(LENGTH)) {
      const ask = (value: string): void =>
        void operator.find(
          transforms.reduce((changed, transform) => transform.apply(changed), value),
          run,
        )
      const ms = steadyMs(() => ask(text))
      worst = Math.max(worst, ms)
      if (ms > LIMIT_MS) slow.push({ rule: rule.id, input, ms, why: `over ${LIMIT_MS} ms` })
      else if (ms > 10) {
        // Once more, both warm: the first time builds what later ones use.
        const half = warmMs(() => ask(halves.get(input) ?? ''))
        const whole = warmMs(() => ask(text))
        if (whole > 4 * half + 5) {
          slow.push({ rule: rule.id, input, ms: whole, why: `${half.toFixed(1)} ms for half of it` })
        }
      }
    }
  }
  return { slow, worst }
}

/** Runs it and prints what is slow. @returns whether nothing is */
export function printStalls(compiled: SecCompiled, print: (line: string) => void): boolean {
  const run = newRun()
  const slow: Slow[] = []
  let worst = 0
  for (const rule of compiled.rules) {
    const result = slowTests(rule, run)
    slow.push(...result.slow)
    worst = Math.max(worst, result.worst)
  }
  print(
    `${compiled.rules.length} rules, ${inputs(1).size} inputs of ${LENGTH} bytes each: worst ${worst.toFixed(1)} ms`,
  )
  const engine = new Engine(compiled.steps)
  const next = seeded(7)
  const alphabet = String.fromCharCode(...Array.from({ length: 256 }, (_, code) => code))
  const symbols = '<>\'"();=&|%$`\\/*-+{}[],.:#@! \n'
  let worstAll = 0
  for (let number = 0; number < FUZZ; number++) {
    const length = 64 + Math.floor(next(2_000))
    const text = filled(length, next(2) < 1 ? alphabet : `${symbols}abcdefinorstuvxs0123456789`, next)
    const headers = [
      ['Host', 'localhost'],
      ['Content-Type', 'application/x-www-form-urlencoded'],
      ['Content-Length', String(length + 2)],
    ] as const
    const facts = factsOf({ line: 'POST / HTTP/1.1', headers, body: '' })
    const ms = steadyMs(() => {
      const pass = engine.begin(inspectRequest(facts, null, true), newRun())
      engine.run('head', pass, () => false)
      pass.advance(withBody(pass.inspected, Buffer.from(`a=${text}`, 'latin1'), true))
      engine.run('body', pass, () => false)
    })
    worstAll = Math.max(worstAll, ms)
    if (ms > LIMIT_MS)
      slow.push({
        rule: 'all rules',
        input: `fuzz ${number}, ${length} bytes`,
        ms,
        why: `over ${LIMIT_MS} ms`,
      })
  }
  print(`all rules, ${FUZZ} fuzzed forms: worst ${worstAll.toFixed(1)} ms`)
  for (const { rule, input, ms, why } of slow.slice(0, MAX_SHOWN))
    print(`slow ${rule} on ${input}: ${ms.toFixed(1)} ms, ${why}`)
  print(slow.length === 0 ? 'nothing stalls' : `${slow.length} slow`)
  return slow.length === 0
}
