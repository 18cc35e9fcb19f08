// diagnose --probe: active checks from where it runs, in the order in which a packet goes; the first that fails names the hop.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { loadPolicy } from '../config/load.ts'
import {
  compareProbes,
  firstFailure,
  slowWords,
  type Hop,
  type ProbeResult,
  type ProbeStep,
} from '../diagnose/probe-comparison.ts'
import { TLS_VERSIONS } from '../net/tls-version.ts'
import { parseAddress } from '../net/address.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments, type CommandContext } from './command.ts'
import { formatAgo } from './format.ts'
import { policyDirectory } from './gate-access.ts'
import * as steps from './probe-steps.ts'
import type { ProbeTarget, StepResult } from './probe-steps.ts'
import { readSavedProbe, type SavedProbe } from './saved-probe.ts'

/** Options that only `--probe` understands. */
export const PROBE_OPTIONS = {
  probe: {
    type: 'boolean',
    help: 'check the way to the gate from this machine: name, port, TLS, certificate, answer, heartbeat; needs no policy',
  },
  at: { type: 'string', value: '<ip>', help: 'with --probe: connect there, whatever the name says' },
  bind: { type: 'string', value: '<ip>', help: 'with --probe: connect from this address of this machine' },
  ca: { type: 'string', value: '<file>', help: 'with --probe: trust this authority (PEM), too' },
  path: { type: 'string', value: '<path>', help: 'with --probe: what to ask for' },
  heartbeat: { type: 'string', value: '<port>', help: 'with --probe: UDP port of heartbeats' },
  lan: { type: 'boolean', help: 'with --probe: this machine stands in the network of the gate' },
  compare: {
    type: 'string',
    value: '<file>',
    help: 'with --probe: beside the saved --json of a probe elsewhere; best one from the LAN of the gate and one from outside',
  },
} as const

/** What a failure at a hop means, and what to do. */
const MEANING: Readonly<Record<Hop, string>> = {
  name: 'The name does not lead anywhere from here. Check DNS on this machine and at the provider of the domain; until then agents cannot even begin.',
  port: 'The name is right, but no connection comes about. From here something in between blocks it, or the gate is not listening: try the same from another network. If it works there, open the outbound firewall here; if not, look at the gate and the firewall before it.',
  tls: 'The port is open, but no TLS version gets in. If it says access denied, the gate refused this network; otherwise a device in between breaks TLS open. Run bin/diagnose at the gate with the public address of this site.',
  certificate:
    'TLS works, but clients that check the certificate hang up. If the issuer is not the one of the gate, a device in between opens TLS: exempt the name from it. Otherwise renew the certificate or complete its chain in certs/.',
  answer:
    'The gate is reached, but this request is not answered well. With a reference: bin/diagnose <reference> at the gate says why. With status 502, 503 or 504 the RMM server is down.',
  heartbeat:
    'Everything else works; heartbeats over UDP do not. Open the UDP port outbound here and inbound at the gate. Agents still check in, only later when a technician calls them.',
}

/** Runs the checks. Exit code 0: every hop works. */
export async function probe(args: CommandArguments, context: CommandContext): Promise<number> {
  const { terminal } = context
  const json = args.flag('json')
  const snapshot = policyOf(args, context)
  const target = targetOf(args, snapshot, context)
  const saved = savedFor(args, target, context)
  const found: ProbeStep[] = []
  const note = (hop: Hop, what: string, result: StepResult): void => {
    found.push({ hop, what, ...result })
    if (json) return
    const { ok, saw } = result
    const tone = ok === true ? 'good' : ok === false ? 'bad' : 'dim'
    terminal.print(
      terminal.wrap(
        `${terminal.tone(tone, markOf(ok))} ${terminal.tone('strong', what)}: ${saw}`,
        '  ',
        '  ',
      ),
    )
  }
  if (!json)
    terminal.print(`Probing https://${target.host}:${target.port}${target.path} from this machine`, '')
  await walk(target, heartbeatPort(args, snapshot), portsOf(target, snapshot), context.nowMs(), note)
  const here: ProbeResult = { isLan: args.flag('lan'), steps: found }
  const failed = firstFailure(found)
  const comparison = saved === null ? null : compareProbes(saved, here)
  const isWell = failed === undefined && (comparison === null || comparison.hop === null)
  if (json) {
    terminal.json({
      target: { host: target.host, port: target.port, path: target.path },
      lan: here.isLan,
      atMs: context.nowMs(),
      steps: found,
      firstFailure: failed === undefined ? null : { hop: failed.hop, meaning: MEANING[failed.hop] },
      ...(comparison === null ? {} : { comparison }),
    })
    return isWell ? 0 : 1
  }
  terminal.print('')
  if (saved !== null && comparison !== null) {
    showBeside(saved, here, context)
    const words =
      comparison.hop === null
        ? terminal.tone('good', '✓ Both places get through.')
        : terminal.tone('bad', `✗ The first hop that fails: ${comparison.hop}.`)
    terminal.print('', words, terminal.wrap(comparison.meaning, '  '))
    return isWell ? 0 : 1
  }
  if (failed === undefined) {
    terminal.print(
      terminal.tone('good', '✓ Every hop works from here.'),
      terminal.wrap(
        slowWords(found) ??
          'If agents of this network still do not get in, it is something about them: bin/diagnose at the gate with the public address of this site.',
        '  ',
      ),
    )
    return 0
  }
  terminal.print(
    terminal.tone('bad', `✗ The first hop that fails: ${failed.what}.`),
    terminal.wrap(MEANING[failed.hop], '  '),
    terminal.wrap(NEXT, '  '),
  )
  return 1
}

/** How to find out on which side of the gate's firewall it is. */
const NEXT =
  'Is it the way or the gate? Run the same in the LAN of the gate with --lan --json > lan.json, then here with --compare lan.json.'

/** Both probes, hop by hop. */
function showBeside(saved: SavedProbe, here: ProbeResult, { terminal, nowMs }: CommandContext): void {
  const keys = new Map([...saved.steps, ...here.steps].map(step => [`${step.hop} ${step.what}`, step.what]))
  const cell = ({ steps }: ProbeResult, key: string): string => {
    const step = steps.find(entry => `${entry.hop} ${entry.what}` === key)
    if (step === undefined) return terminal.tone('dim', 'not tried')
    const { ok } = step
    return terminal.tone(ok === true ? 'good' : ok === false ? 'bad' : 'dim', `${markOf(ok)} ${step.saw}`)
  }
  const there = saved.isLan ? 'in the LAN' : 'there'
  const rows = [...keys].map(([key, what]) => [what, cell(saved, key), cell(here, key)])
  terminal.print(
    terminal.table(
      [
        ['', `${there}, ${formatAgo(saved.atMs, nowMs())}`, here.isLan ? 'in the LAN, now' : 'here, now'].map(
          head => terminal.tone('strong', head),
        ),
        ...rows,
      ],
      '  ',
    ),
  )
}

function markOf(ok: boolean | null): string {
  return ok === true ? '✓' : ok === false ? '✗' : '·'
}

/** The saved probe to compare with; null: none was named. */
function savedFor(args: CommandArguments, target: ProbeTarget, context: CommandContext): SavedProbe | null {
  const file = args.text('compare')
  if (file === undefined) return null
  const saved = readSavedProbe(resolve(context.cwd, file))
  if (saved.host === target.host && saved.port === target.port) return saved
  throw usageError(
    `${file} is about https://${saved.host}:${saved.port}, not https://${target.host}:${target.port}`,
    'Probe the same address from both places.',
  )
}

async function walk(
  target: ProbeTarget,
  heartbeat: number | null,
  otherPorts: readonly number[],
  nowMs: number,
  note: (hop: Hop, what: string, result: StepResult) => void,
): Promise<void> {
  const named = await steps.resolveName(target)
  const { addresses } = named
  note('name', 'name', named)
  if (named.ok !== true) return
  let reached: string | undefined
  for (const address of addresses) {
    const result = await steps.reachPort(target, address, target.port)
    note('port', 'port', result)
    if (result.ok === true) reached ??= address
  }
  const [first = target.host] = addresses
  if (reached === undefined) {
    for (const port of otherPorts)
      note('port', `other port ${port}`, await steps.reachPort(target, first, port))
    return
  }
  let isIn = false
  for (const version of TLS_VERSIONS) {
    const result = await steps.shakeHands(target, reached, version)
    note('tls', version, result)
    isIn ||= result.ok === true
  }
  if (!isIn) return
  note('certificate', 'certificate', await steps.lookAtCertificate(target, reached, nowMs))
  note('answer', 'answer', await steps.askHttp(target, reached))
  if (heartbeat !== null) note('heartbeat', 'heartbeat', await steps.beat(target, reached, heartbeat))
}

/** The policy, where there is one: the probe also runs on a machine that has none. */
function policyOf(args: CommandArguments, context: CommandContext): Snapshot | null {
  const loaded = loadPolicy({
    directory: policyDirectory(args, context),
    nowMs: context.nowMs(),
    forReading: true,
  })
  return loaded.ok ? loaded.snapshot : null
}

function targetOf(args: CommandArguments, snapshot: Snapshot | null, context: CommandContext): ProbeTarget {
  const [given, ...more] = args.positionals
  if (more.length > 0)
    throw usageError(
      '--probe looks at one address',
      'For example: bin/diagnose --probe https://rmm.example.com',
    )
  const name = snapshot?.names[0]
  const listens = snapshot?.listeners[0]?.endpoints[0]?.port ?? 443
  const url = given === undefined ? undefined : readUrl(given)
  if (url === undefined && name === undefined) {
    throw usageError(
      'there is no policy here that names the gate',
      'Name it: bin/diagnose --probe https://rmm.example.com',
    )
  }
  const path = args.text('path') ?? name?.profile.health.path ?? '/'
  if (!/^\/[\x21-\x7e]{0,500}$/.test(path))
    throw usageError('--path starts with a slash', 'For example --path /LabTech/Agent.aspx')
  const ca = args.text('ca')
  return {
    host: url?.host ?? name?.host ?? '',
    port: url?.port ?? (listens === 0 ? 443 : listens),
    path,
    at: addressOf(args.text('at'), 'at'),
    bind: addressOf(args.text('bind'), 'bind'),
    ca: ca === undefined ? null : readAuthority(resolve(context.cwd, ca)),
  }
}

function readUrl(text: string): { readonly host: string; readonly port: number } {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `https://${text}`
  const url = URL.canParse(full) ? new URL(full) : undefined
  if (url === undefined || url.protocol !== 'https:' || url.username !== '' || url.hostname === '') {
    throw usageError(
      `"${text}" is not the address of a gate`,
      'Write https://rmm.example.com or https://rmm.example.com:8443',
    )
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? 443 : Number(url.port) }
}

function addressOf(text: string | undefined, option: string): string | null {
  if (text === undefined) return null
  const address = parseAddress(text)
  if (address === undefined)
    throw usageError(`--${option} is an IP address`, `For example --${option} 198.51.100.7`)
  return address.text
}

function readAuthority(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw usageError(
      `the authority ${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      'Name a PEM file.',
    )
  }
}

function heartbeatPort(args: CommandArguments, snapshot: Snapshot | null): number | null {
  const text = args.text('heartbeat')
  if (text === undefined) return snapshot?.heartbeats[0]?.endpoints[0]?.port ?? null
  const port = Number(text)
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port
  throw usageError(`"${text}" is not a port`, 'Automate uses --heartbeat 75.')
}

/** Ports that may work where this one is blocked: what the policy listens on, and the usual ones. */
function portsOf(target: ProbeTarget, snapshot: Snapshot | null): readonly number[] {
  const known = (snapshot?.listeners ?? []).flatMap(listener => listener.endpoints.map(({ port }) => port))
  return [...new Set([...known, 443, 8443])].filter(port => port !== 0 && port !== target.port).slice(0, 4)
}
