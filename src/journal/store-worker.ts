// The thread that owns the journal's file: SQLite is synchronous, and a slow disk must stall this thread, not the gate.
import { parentPort } from 'node:worker_threads'
import { PortcullisError } from '../policy/error.ts'
import { openOrReplaceStore, replaceStore, type StoreCore } from './store-core.ts'
import { isDamage, problemOf } from './store-database.ts'
import type { StoreCalls, StoreReply, StoreRequest } from './store-messages.ts'

let core: StoreCore | null = null
let file = ''

const port = parentPort
port?.on('message', (request: StoreRequest) => {
  const reply = answer(request)
  port.postMessage(reply)
  if (reply.kind === 'closed') port.close()
})

function answer(request: StoreRequest): StoreReply {
  switch (request.kind) {
    case 'open':
      return open(request.file, request.nowMs)
    case 'write':
      return write(request)
    case 'call':
      return call(request)
    case 'close':
      core?.close()
      core = null
      return { kind: 'closed' }
  }
}

function open(path: string, nowMs: number): StoreReply {
  file = path
  core?.close()
  core = null
  try {
    const opened = openOrReplaceStore(path, nowMs)
    core = opened.core
    return { kind: 'opened', replaced: opened.replaced }
  } catch (error) {
    const remedy =
      error instanceof PortcullisError
        ? error.remedy
        : 'Check that the state directory exists, is writable for the gate and has space left.'
    return { kind: 'unusable', problem: problemOf(error), remedy }
  }
}

function write(request: Extract<StoreRequest, { kind: 'write' }>): StoreReply {
  const startedMs = performance.now()
  const written = (
    lost: string | null,
    replaced: Extract<StoreReply, { kind: 'written' }>['replaced'],
  ): StoreReply => ({ kind: 'written', lost, replaced, durationMs: performance.now() - startedMs })
  if (core === null) return written('the store is not open', null)
  try {
    core.write(request.batch)
    return written(null, null)
  } catch (error) {
    if (!isDamage(error)) return written(problemOf(error), null)
    try {
      core.close()
      const fresh = replaceStore(file, request.nowMs, problemOf(error))
      core = fresh.core
      core.write(request.batch)
      return written(null, fresh.replaced)
    } catch (second) {
      core = null
      return written(problemOf(second), null)
    }
  }
}

function call(request: Extract<StoreRequest, { kind: 'call' }>): StoreReply {
  const { id, method } = request
  try {
    if (core === null) throw new Error('the journal cannot be used at present')
    const calls: StoreCalls = callsOf(core)
    const run = calls[method] as (...args: readonly unknown[]) => unknown
    return { kind: 'answer', id, value: run(...request.args) }
  } catch (error) {
    return { kind: 'problem', id, problem: problemOf(error) }
  }
}

function callsOf(open: StoreCore): StoreCalls {
  return {
    eventsByReference: open.events.byReference,
    findEvents: open.events.find,
    countsByReason: open.events.countsByReason,
    ledgerOfSource: open.ledger.ofSource,
    ledgerOfRange: open.ledger.ofRange,
    overlayEntries: open.overlay.list,
    addOverlayEntry: open.overlay.add,
    removeOverlayEntries: open.overlay.remove,
    watchRules: open.rules.watch,
    promoteRule: open.rules.promote,
    ruleEffects: open.rules.effects,
    upkeep: open.upkeep,
    size: open.size,
  }
}
