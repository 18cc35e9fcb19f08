// Groups the rules of a document into chains, and applies the directives that change or remove rules.
import type { SourceLine } from '../../policy/source-line.ts'
import type {
  RuleChoice,
  SecActionItem,
  SecChange,
  SecDocument,
  SecOperator,
  SecProblem,
  SecVariable,
} from './document.ts'

/** One rule of a chain. */
export type SecLink = {
  variables: readonly SecVariable[]
  /** Null: a SecAction, which always holds. */
  readonly operator: SecOperator | null
  actions: readonly SecActionItem[]
  readonly at: SourceLine
}

/** A rule with the rules chained to it. The first link speaks for all. */
export type SecChain = {
  readonly links: readonly SecLink[]
  /** Default actions of its phase at this place of the files. */
  readonly defaults: readonly SecActionItem[]
  readonly phase: number
  readonly number: number | null
}

/** A chain or a marker. */
export type SecEntry = SecChain | { readonly marker: string }

const PHASES: Readonly<Record<string, number>> = { request: 2, response: 4, logging: 5 }

/** The last value of an action. */
export function lastValue(actions: readonly SecActionItem[], name: string): string | null {
  return actions.findLast(action => action.name === name)?.value ?? null
}

/** Whether an action is there. */
export function hasAction(actions: readonly SecActionItem[], name: string): boolean {
  return actions.some(action => action.name === name)
}

function phaseOf(actions: readonly SecActionItem[]): number {
  const written = (lastValue(actions, 'phase') ?? '2').toLowerCase()
  const phase = PHASES[written] ?? Number(written)
  return Number.isInteger(phase) && phase >= 1 && phase <= 5 ? phase : 2
}

/** Entries in order, with all changes applied. */
export function chainsOf(document: SecDocument, problems: SecProblem[]): readonly SecEntry[] {
  const entries: { entry: SecEntry; step: number }[] = []
  const defaults = new Map<number, readonly SecActionItem[]>()
  let open: { links: SecLink[]; step: number } | null = null
  const close = (): void => {
    if (open === null) return
    const { links, step } = open
    open = null
    const actions = links[0]?.actions ?? []
    const phase = phaseOf(actions)
    const id = lastValue(actions, 'id')
    const number = id !== null && /^\d{1,15}$/.test(id) ? Number(id) : null
    entries.push({ entry: { links, defaults: defaults.get(phase) ?? [], phase, number }, step })
  }
  for (const [step, written] of document.steps.entries()) {
    if (written.kind === 'marker' || written.kind === 'default') {
      if (open !== null) {
        problems.push({
          level: 'error',
          message: 'the chain before this line has no end: it ends here',
          at: written.at,
        })
        close()
      }
      if (written.kind === 'marker') entries.push({ entry: { marker: written.name }, step })
      else defaults.set(phaseOf(written.actions), written.actions)
      continue
    }
    const link: SecLink = {
      variables: written.kind === 'rule' ? written.variables : [],
      operator: written.kind === 'rule' ? written.operator : null,
      actions: written.actions,
      at: written.at,
    }
    open ??= { links: [], step }
    open.links.push(link)
    if (!hasAction(written.actions, 'chain')) close()
  }
  if (open !== null) {
    const last = document.steps.at(-1)
    if (last !== undefined) {
      problems.push({ level: 'error', message: 'the last chain has no end: it ends here', at: last.at })
    }
    close()
  }
  return changed(entries, document.changes, problems)
}

function changed(
  entries: readonly { entry: SecEntry; step: number }[],
  changes: readonly SecChange[],
  problems: SecProblem[],
): readonly SecEntry[] {
  const removed = new Set<SecEntry>()
  for (const change of changes) {
    let isMeant = false
    for (const { entry, step } of entries) {
      if (step >= change.before || 'marker' in entry || !isChosen(entry, change.choices)) continue
      isMeant = true
      if (change.kind === 'remove') removed.add(entry)
      else alter(entry, change, problems)
    }
    if (!isMeant) {
      problems.push({
        level: 'note',
        message: 'no rule before this line is meant by it: it has no effect',
        at: change.at,
      })
    }
  }
  return entries.map(({ entry }) => entry).filter(entry => !removed.has(entry))
}

function isChosen({ number, links }: SecChain, choices: readonly RuleChoice[]): boolean {
  const actions = links[0]?.actions ?? []
  return choices.some(choice => {
    if (choice.by === 'id') return number !== null && number >= choice.from && number <= choice.to
    const texts = actions.filter(({ name }) => name === (choice.by === 'tag' ? 'tag' : 'msg'))
    return texts.some(({ value }) => value !== null && value.includes(choice.text))
  })
}

function alter(
  chain: SecChain,
  change: Exclude<SecChange, { kind: 'remove' }>,
  problems: SecProblem[],
): void {
  const link = chain.links[change.link]
  if (link === undefined) {
    problems.push({
      level: 'note',
      message: `the chain has no rule ${change.link}: no effect`,
      at: change.at,
    })
    return
  }
  if (change.kind === 'targets') {
    link.variables = [...link.variables, ...change.variables]
    return
  }
  const { actions } = change
  // What an action says once is replaced, what it may say often (transforms, tags, variables) is added.
  const replaced = new Set(
    actions.map(({ name }) => name).filter(name => !['t', 'tag', 'setvar', 'ctl'].includes(name)),
  )
  const disruptive = actions.some(({ name }) => DISRUPTIVE.has(name))
  link.actions = [
    ...link.actions.filter(({ name }) => !replaced.has(name) && !(disruptive && DISRUPTIVE.has(name))),
    ...actions,
  ]
}

/** Actions that say what becomes of the request. */
export const DISRUPTIVE: ReadonlySet<string> = new Set([
  'allow',
  'block',
  'deny',
  'drop',
  'pass',
  'proxy',
  'redirect',
])
