// The way to the cut-over: which step one is at, what is missing for the next one, and what must not be done yet. Pure.

/** The steps, in their order. Nothing later may be done before what comes earlier is. */
export const CUTOVER_STEPS = [
  'trial',
  'template',
  'all-templates',
  'wait',
  'firewall',
  'redirector',
  'sso',
] as const

/** One of them. */
export type CutoverStepId = (typeof CUTOVER_STEPS)[number]

/** Steps that only a person can say are done. */
export const MARKED_STEPS = ['template', 'all-templates', 'redirector', 'sso'] as const

/** One of those. */
export type MarkedStep = (typeof MARKED_STEPS)[number]

/** What is known. Times in milliseconds since the epoch. */
export type CutoverFacts = {
  readonly nowMs: number
  /** Addresses with known agents (several hours) through the gate. */
  readonly knownAgents: number
  /** Known agents that are refused. */
  readonly refusedKnown: number
  /** Share of the known fleet that uses the gate now, 0 to 1; null: nothing to compare with. */
  readonly share: number | null
  readonly marks: Partial<Readonly<Record<MarkedStep, number>>>
  /** When direct access was last seen closed from outside; null: never, or it was open the last time. */
  readonly closedMs: number | null
  readonly rehearsedMs: number | null
}

/** A step as it stands. */
export type CutoverStep = {
  readonly id: CutoverStepId
  readonly title: string
  readonly done: boolean
  /** What is missing; empty: nothing. */
  readonly missing: readonly string[]
}

/** Where one is. */
export type CutoverState = {
  readonly steps: readonly CutoverStep[]
  /** The first that is not done; null: all are. */
  readonly current: CutoverStepId | null
  readonly warnings: readonly string[]
}

/** Share of the fleet at which templates count as arrived. */
const ENOUGH_SHARE = 0.95
/** Machines that are seldom online need this long to fetch a template. */
export const WAIT_MS = 7 * 86_400_000
const REHEARSE_MS = 180 * 86_400_000

/** Judges. */
export function judgeCutover(facts: CutoverFacts): CutoverState {
  const { nowMs, knownAgents, refusedKnown, share, marks, closedMs, rehearsedMs } = facts
  const percent = share === null ? null : Math.floor(share * 100)
  const arrived = share !== null && share >= ENOUGH_SHARE
  const allMs = marks['all-templates']
  const waited = allMs !== undefined && nowMs - allMs >= WAIT_MS
  const missing: Readonly<Record<CutoverStepId, readonly string[]>> = {
    trial: [
      ...(knownAgents === 0
        ? ['no agent has checked in through the gate within several hours: point a few test machines at it']
        : []),
      ...(refusedKnown > 0
        ? [
            `${refusedKnown} known ${refusedKnown === 1 ? 'agent is' : 'agents are'} refused: portcullis trial report`,
          ]
        : []),
    ],
    template:
      marks.template === undefined
        ? [
            'one new template with the string of `portcullis template`, then: portcullis cutover done template',
          ]
        : [],
    'all-templates':
      allMs === undefined
        ? ['all templates with that string, then: portcullis cutover done all-templates']
        : [],
    wait: [
      ...(share === null
        ? [
            'nothing says how many agents there are: use --list <export of the RMM>, or state agents under the sites of the policy',
          ]
        : []),
      ...(share !== null && !arrived
        ? [`${percent} % of the known agents use the gate; ${ENOUGH_SHARE * 100} % are wanted`]
        : []),
      ...(allMs !== undefined && !waited
        ? [
            `machines that are seldom online: wait until ${new Date(allMs + WAIT_MS).toISOString().slice(0, 10)}`,
          ]
        : []),
    ],
    firewall: [
      ...(closedMs === null
        ? ['the rule of `portcullis cutover firewall`, then from outside: portcullis cutover verify']
        : []),
      ...(rehearsedMs === null ? ['rehearse the emergency path before: portcullis cutover rehearse'] : []),
    ],
    redirector:
      marks.redirector === undefined
        ? [
            'the redirector address is global and affects single sign-on: change it last, then: portcullis cutover done redirector',
          ]
        : [],
    sso:
      marks.sso === undefined
        ? [
            "the gate's name as an alternate name for single sign-on (a mismatch shows as CORS errors), then: portcullis cutover done sso",
          ]
        : [],
  }
  const titles: Readonly<Record<CutoverStepId, string>> = {
    trial: 'Trial: test machines use the gate, nobody known is refused',
    template: 'One new template with both addresses',
    'all-templates': 'All templates',
    wait: 'Wait until the agents have moved',
    firewall: 'Firewall: only the gate reaches the server',
    redirector: 'Redirector address',
    sso: 'Single sign-on knows the gate',
  }
  const steps = CUTOVER_STEPS.map(id => ({
    id,
    title: titles[id],
    done: missing[id].length === 0,
    missing: missing[id],
  }))
  const current = steps.find(step => !step.done)?.id ?? null
  const warnings = []
  for (const [index, step] of steps.entries()) {
    const before = steps.slice(0, index).find(earlier => !earlier.done)
    if (before !== undefined && isActedOn(step.id, facts))
      warnings.push(
        `"${step.title}" was done before "${before.title}" is: agents that have not moved are cut off or split`,
      )
  }
  if (rehearsedMs !== null && nowMs - rehearsedMs > REHEARSE_MS)
    warnings.push(
      'the emergency path was rehearsed more than half a year ago: firewalls and people have changed since',
    )
  return { steps, current, warnings }
}

function isActedOn(id: CutoverStepId, { marks, closedMs }: CutoverFacts): boolean {
  if (id === 'firewall') return closedMs !== null
  return id !== 'trial' && id !== 'wait' && marks[id] !== undefined
}

/** The first step before this one that is not done; null: it may be done now. */
export function standsBefore(state: CutoverState, id: CutoverStepId): CutoverStep | null {
  const index = CUTOVER_STEPS.indexOf(id)
  return state.steps.slice(0, index).find(step => !step.done) ?? null
}

/** Part of the fleet that should be seen. */
export type FleetPart = { readonly what: string; readonly agents: number; readonly seen: boolean }

/** How much of the fleet uses the gate. Agents behind one address cannot be told apart: they count together. */
export function fleetShare(parts: readonly FleetPart[]): {
  readonly known: number
  readonly using: number
  readonly share: number | null
} {
  const known = parts.reduce((sum, part) => sum + part.agents, 0)
  const using = parts.reduce((sum, part) => sum + (part.seen ? part.agents : 0), 0)
  return { known, using, share: known === 0 ? null : using / known }
}
