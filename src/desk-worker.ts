// The desk's thread: loads the policy in force once, then diagnoses and plans with the very functions of the command line.
import { parentPort } from 'node:worker_threads'
import type { AddressDiagnosis, PlanChange, PlanOutcome } from './admin/dashboard/pages/sources.ts'
import { CommandArguments, type CommandContext } from './cli/command.ts'
import { openSurroundings } from './cli/evidence.ts'
import { listExceptions } from './cli/exception-list.ts'
import { openStore } from './cli/gate-access.ts'
import { makePlan, type Plan } from './cli/make-plan.ts'
import { Terminal } from './cli/terminal.ts'
import { loadPolicy, type LoadResult } from './config/load.ts'
import { renderProblem } from './config/problems.ts'
import type { DeskPolicy, DeskReply, DeskTask } from './desk-messages.ts'
import { diagnose } from './diagnose/diagnosis.ts'
import { buildOverlay } from './journal/store-overlay.ts'
import { parseAddress } from './net/address.ts'
import type { ListedException } from './policy/expiring.ts'
import type { Snapshot } from './policy/snapshot.ts'
import { formatSourceLine } from './policy/source-line.ts'

/** Changes that travel to the page; the command line lists all. */
const MAX_CHANGES = 400
const PLAN_SPAN = '7d'

const port = parentPort
let loaded: { readonly id: string; readonly snapshot: Snapshot } | null = null

port?.on('message', (task: DeskTask) => {
  void answer(task).then(reply => port.postMessage(reply))
})

async function answer(task: DeskTask): Promise<DeskReply> {
  try {
    switch (task.kind) {
      case 'diagnose':
        return { id: task.id, kind: 'diagnoses', diagnoses: await diagnoseAll(task) }
      case 'plan':
        return { id: task.id, kind: 'plan', outcome: await plan(task) }
      case 'exceptions':
        return { id: task.id, kind: 'exceptions', exceptions: exceptions(task) }
    }
  } catch (error) {
    return { id: task.id, kind: 'problem', problem: error instanceof Error ? error.message : String(error) }
  }
}

async function diagnoseAll(
  task: Extract<DeskTask, { kind: 'diagnose' }>,
): Promise<readonly AddressDiagnosis[]> {
  const { policy, nowMs } = task
  const surroundings = await openSurroundings(
    inForce(policy, nowMs),
    argumentsOf(policy),
    contextOf(policy, nowMs, null),
  )
  try {
    return task.addresses.flatMap(text => {
      const address = parseAddress(text)
      if (address === undefined) return []
      const { evidence } = surroundings.about(address)
      // Where the RMM server stands and who changed the policy is not for operators of single sites.
      const shown = task.limited ? { ...evidence, upstreams: [], happenings: [] } : evidence
      const { healthy, cause, sentence, fix } = diagnose(shown)
      return [{ address: text, healthy, cause, sentence, steps: fix?.steps ?? [], yaml: fix?.yaml ?? null }]
    })
  } finally {
    surroundings.close()
  }
}

function exceptions({ policy, nowMs }: DeskTask): readonly ListedException[] {
  const snapshot = inForce(policy, nowMs)
  const store = openStore(snapshot)
  try {
    return listExceptions(snapshot, buildOverlay(store?.overlay.list() ?? []), store, nowMs)
  } finally {
    store?.close()
  }
}

async function plan(task: Extract<DeskTask, { kind: 'plan' }>): Promise<PlanOutcome> {
  const { policy, nowMs } = task
  const tell = (text: string): void => port?.postMessage({ id: task.id, kind: 'progress', text })
  tell('Reading the candidate.')
  const candidate = loadCandidate(task)
  if (!candidate.ok) return { kind: 'invalid', problems: candidate.problems.map(renderProblem) }
  tell('Reading the policy in force.')
  const current = inForce(policy, nowMs)
  tell('Replaying recorded traffic.')
  const context = contextOf(policy, nowMs, tell)
  return outcomeOf(await makePlan(current, candidate.snapshot, argumentsOf(policy), context))
}

function outcomeOf({ changes, replay, rules }: Plan): PlanOutcome {
  return {
    kind: 'done',
    changes,
    replay:
      replay === null
        ? null
        : {
            rows: replay.rows,
            sources: replay.sources,
            agents: replay.agents,
            lostAgents: replay.lostAgents,
            changes: replay.changes.slice(0, MAX_CHANGES).map((change): PlanChange => ({
              kind: change.kind,
              address: change.address,
              site: change.site,
              country: change.country,
              class: change.class,
              reason: change.reason,
              saw: change.saw,
              line: formatSourceLine(change.line),
              count: change.count,
              lastMs: change.lastMs,
              activeAgent: change.activeAgent,
            })),
            more: Math.max(0, replay.changes.length - MAX_CHANGES),
          },
    rules: rules.map(({ ruleId, hits, sourceCount, knownAgents }) => ({
      ruleId,
      hits,
      sourceCount,
      knownAgents,
    })),
  }
}

function loadCandidate({ policy, nowMs, ...task }: Extract<DeskTask, { kind: 'plan' }>): LoadResult {
  return loadPolicy({
    directory: task.candidate,
    label: task.label,
    meantFor: policy.meantFor,
    stateDir: policy.stateDir,
    nowMs,
  })
}

/** The policy in force. @throws Error when its files have gone */
function inForce(policy: DeskPolicy, nowMs: number): Snapshot {
  if (loaded?.id === policy.id) return loaded.snapshot
  const { directory, label, meantFor, stateDir } = policy
  const result = loadPolicy({ directory, label, meantFor, stateDir, nowMs, forReading: true })
  if (!result.ok)
    throw new Error(`the policy in force cannot be read again: ${result.problems[0]?.message ?? ''}`)
  loaded = { id: policy.id, snapshot: result.snapshot }
  return result.snapshot
}

function argumentsOf({ commandPolicy }: DeskPolicy): CommandArguments {
  const policy = commandPolicy === '' ? {} : { policy: commandPolicy }
  return new CommandArguments({ ...policy, since: PLAN_SPAN }, [])
}

/** A command's surroundings without a process: what it would complain of is progress. */
function contextOf(
  { meantFor }: DeskPolicy,
  nowMs: number,
  onProgress: ((text: string) => void) | null,
): CommandContext {
  const nowhere = { write: () => undefined }
  return {
    terminal: new Terminal(
      nowhere,
      { write: (text: string) => onProgress?.(text.trim()) },
      { colour: false },
    ),
    env: {},
    cwd: meantFor,
    root: meantFor,
    nowMs: () => nowMs,
    pid: 0,
    platform: '',
    user: 'dashboard',
    isTerminal: onProgress !== null,
    execArgv: [],
    memory: () => ({ rssBytes: 0, heapBytes: 0 }),
    onSignal: () => () => undefined,
  }
}
