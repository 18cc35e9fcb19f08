// The drill of the emergency path: opens the direct way for a moment, sees that the server answers, closes it again, and looks after the gate all the while.
import { setTimeout as pause } from 'node:timers/promises'
import type { HealthProbe } from '../policy/snapshot.ts'
import { addressesOf, reachOf } from './reach.ts'

/** One step of the drill. */
export type DrillStep = { readonly what: string; readonly ok: boolean; readonly saw: string }

/** What the drill needs. */
export type DrillOptions = {
  readonly host: string
  readonly port: number
  readonly probe: Pick<HealthProbe, 'path' | 'statuses' | 'bodyPattern'>
  /** Whether the gate reaches its server now; a sentence. */
  readonly gateUpstream: () => Promise<{ readonly ok: boolean; readonly saw: string }>
  readonly waitMs: number
  readonly everyMs: number
  readonly isStopped: () => boolean
  readonly say: (line: string) => void
}

/** Who does what, in order. */
export function drillText(host: string, port: number, product: string): readonly string[] {
  return [
    `Support: checks that ${host} still resolves and that the gate is healthy (this command does both).`,
    `Firewall admin: removes the restriction on port ${port}, as in a real emergency (portcullis cutover firewall prints how).`,
    `Support: sees ${product} answer at ${host}:${port} (this command waits for it).`,
    'Firewall admin: puts the restriction back.',
    'Support: sees the direct way closed and the gate healthy (this command waits for both).',
    'Both: write down how long it took, and who was not reachable.',
  ]
}

/** Runs the drill. It ends at the first step that fails: a half-open door must be seen, not buried under more steps. */
export async function rehearse(options: DrillOptions): Promise<readonly DrillStep[]> {
  const { host, port, gateUpstream, say } = options
  const steps: DrillStep[] = []
  const add = (what: string, ok: boolean, saw: string): boolean => {
    steps.push({ what, ok, saw })
    return ok
  }
  const gate = async (when: string): Promise<boolean> => {
    const { ok, saw } = await gateUpstream()
    return add(`the gate reaches its server ${when}`, ok, saw)
  }

  const addresses = await addressesOf(host)
  const resolved =
    addresses.length === 0 ? 'it does not resolve: agents would have nowhere to go' : addresses.join(', ')
  if (!add(`${host} resolves`, addresses.length > 0, resolved)) return steps
  if (!(await gate('before'))) return steps

  const before = await look(options)
  if (before.answers) {
    add(
      'direct access was closed',
      false,
      `${before.saw}: the restriction is not in force, so there is nothing to rehearse yet`,
    )
    return steps
  }
  add('direct access was closed', true, before.saw)
  say(`Now remove the restriction on port ${port}, as in an emergency. Waiting for an answer ...`)
  const opened = await until(options, seen => seen.answers)
  if (!add(`the server answers at ${host}:${port} once the firewall is open`, opened.done, opened.saw))
    return steps
  await gate('while the direct way is open')
  say('It answers. Now put the restriction back. Waiting until it is closed ...')
  const closed = await until(options, seen => !seen.answers && !seen.open)
  if (!add('direct access is closed again', closed.done, closed.saw)) return steps
  await gate('afterwards')
  return steps
}

type Look = { readonly answers: boolean; readonly open: boolean; readonly saw: string }

async function look({ host, port, probe }: DrillOptions): Promise<Look> {
  const results = await Promise.all(
    (await addressesOf(host)).map(address => reachOf(host, address, port, probe)),
  )
  return {
    answers: results.some(result => result.reach === 'answers'),
    open: results.some(result => result.reach === 'open'),
    saw: results.map(result => `${result.address}: ${result.saw}`).join('; '),
  }
}

async function until(
  options: DrillOptions,
  isThere: (seen: Look) => boolean,
): Promise<{ readonly done: boolean; readonly saw: string }> {
  const endMs = performance.now() + options.waitMs
  for (;;) {
    const seen = await look(options)
    if (isThere(seen)) return { done: true, saw: seen.saw }
    if (options.isStopped()) return { done: false, saw: `stopped; last seen: ${seen.saw}` }
    if (performance.now() >= endMs) return { done: false, saw: `not within the time; last seen: ${seen.saw}` }
    await pause(options.everyMs)
  }
}
