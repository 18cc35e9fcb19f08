// One gate for many situations: each has an address of its own and begins with the same policy, so that none meets another's traces.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { TestFn } from 'ava'
import {
  HOST,
  startRunningBench,
  type Ask,
  type ClientResult,
  type Owner,
  type RunningBench,
} from '../cli/support.ts'
import { applyPatch, diagnose, isThrough, type Found } from './support.ts'

/** A situation on its way: the gate, and one client in front of it. */
export type Scene = Owner & {
  readonly bench: RunningBench
  /** Address of the client, which nobody else has. */
  readonly source: string
  /** Asks through the gate, as a client behind a load balancer. */
  readonly ask: (ask?: Ask) => Promise<ClientResult>
  /** Asks; true: the RMM server answered. */
  readonly passes: (ask?: Ask) => Promise<boolean>
  /** Connects straight from the address, which must be one of this machine, sends the bytes and waits for the end. */
  readonly send: (bytes: string | null) => Promise<string>
  /** Asks straight from the address with openssl, which checks the certificate; true: an answer came. */
  readonly openssl: (...args: readonly string[]) => Promise<boolean>
}

/** Where the client is: in two countries by every database, or on this machine, for clients that are programs of their own. */
export type Place = 'US' | 'GB' | 'here' | { readonly address: string }

/** What support meets. The verdict must be right, and what the fix says must let the client in. */
export type Situation = {
  readonly title: string
  /** `US` when left out. */
  readonly place?: Place
  readonly policy?: string | ((source: string, scene: Scene) => string | Promise<string>)
  /** Makes it happen. */
  readonly happen: (scene: Scene) => Promise<unknown>
  readonly cause: string
  readonly sentence: RegExp
  /** What stands among the evidence. */
  readonly shown?: RegExp
  /** Words that the steps of the fix must have. */
  readonly steps?: RegExp
  /** Does what the fix says. `patch`: merges the printed YAML; `try`: the same, and only the next attempt shows that it is right. */
  readonly mend: 'patch' | 'try' | ((scene: Scene, found: Found) => Promise<unknown>)
  /** Tries again; true: the client got in. */
  readonly retry: (scene: Scene) => Promise<boolean>
  /** The cause of the diagnosis afterwards where it is about another address than the one that got in. */
  readonly afterwards?: string
}

const HOUR_MS = 3_600_000

/** Registers the situations as serial tests on one gate. */
export function play(test: TestFn, situations: readonly Situation[]): void {
  const putAway: (() => void | Promise<void>)[] = []
  let bench: RunningBench | undefined
  let policy = ''
  test.before(async () => {
    bench = await startRunningBench({ teardown: put => putAway.push(put) })
    policy = bench.policyText()
  })
  test.after.always(async () => {
    for (const put of putAway.toReversed()) await put()
  })
  const addresses = createAddresses()
  for (const situation of situations) {
    const { title, place = 'US', happen, cause, sentence, shown, steps, mend, retry } = situation
    test.serial(`${title}: named, and what the fix says lets the client in`, async t => {
      if (bench === undefined) throw new Error('no gate')
      const scene = sceneOf(bench, addresses(place), t)
      const { source } = scene
      const more =
        typeof situation.policy === 'function' ? await situation.policy(source, scene) : situation.policy
      bench.writePolicy(policy)
      if (more !== undefined) bench.mergePolicy(more)
      // Nobody who came before is still heard of.
      bench.advance(2 * HOUR_MS)
      const { code, err } = await bench.cli(['reload'])
      t.is(code, 0, err)
      await happen(scene)
      bench.advance(1_000)
      const found = await diagnose(bench, source)
      t.is(found.cause, cause, JSON.stringify(found))
      t.regex(found.sentence, sentence)
      t.false(found.healthy)
      t.is(found.code, 1)
      if (steps !== undefined) t.regex(found.fix?.steps.join('\n') ?? '', steps)
      for (const { command } of found.fix?.commands ?? [])
        t.true(found.fix?.steps.some(step => step.includes(command.split('\n')[0] ?? '')) === true, command)
      if (shown !== undefined) t.regex(found.evidence.map(entry => entry.text).join('\n'), shown)
      if (typeof mend === 'function') await mend(scene, found)
      else await applyPatch(bench, found.fix)
      if (mend === 'patch') {
        const changed = await diagnose(bench, source)
        t.true(changed.healthy, JSON.stringify(changed))
      }
      bench.advance(1_000)
      t.true(await retry(scene), 'the client gets in')
      const after = await diagnose(bench, source)
      if (situation.afterwards === undefined)
        t.deepEqual([after.healthy, after.code], [true, 0], after.sentence)
      else t.is(after.cause, situation.afterwards)
    })
  }
}

/** Addresses that nobody has had before. */
function createAddresses(): (place: Place) => string {
  const last = { US: 0, GB: 0, here: 1 }
  const prefix = { US: '216.160.83.', GB: '81.2.69.', here: '127.0.9.' }
  return place => {
    if (typeof place === 'object') return place.address
    last[place]++
    return `${prefix[place]}${last[place]}`
  }
}

function sceneOf(bench: RunningBench, source: string, owner: Owner): Scene {
  const ask = (what: Ask = {}): Promise<ClientResult> => bench.ask(source, what)
  return {
    teardown: put => owner.teardown(put),
    bench,
    source,
    ask,
    passes: async what => isThrough(await ask(what)),
    send: async bytes => {
      const socket = connect({ host: '127.0.0.1', port: bench.port, localAddress: source })
      socket.on('error', () => undefined)
      const parts: Buffer[] = []
      socket.on('data', (chunk: Buffer) => parts.push(chunk))
      await once(socket, 'connect')
      if (bytes === null) socket.end()
      else socket.write(bytes)
      if (!socket.closed) await once(socket, 'close')
      await bench.settled()
      return Buffer.concat(parts).toString('latin1')
    },
    openssl: (...args) => openssl(bench, source, args),
  }
}

async function openssl(bench: RunningBench, source: string, args: readonly string[]): Promise<boolean> {
  const child = spawn('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${bench.port}`,
    '-bind',
    `${source}:0`,
    ...(args.includes('-noservername') ? [] : ['-servername', HOST]),
    '-CAfile',
    bench.authorityFile,
    '-verify_return_error',
    '-quiet',
    '-no_ign_eof',
    ...args,
  ])
  let out = ''
  child.stdout.on('data', chunk => (out += String(chunk)))
  child.stdin.on('error', () => undefined)
  child.stdin.write(`GET /LabTech/Agent.aspx HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`)
  await once(child, 'close')
  await bench.settled()
  return out.startsWith('HTTP/1.1 200')
}
