// Turns the words of a command line into the facts of a question: address, country answers, listener, request.
import { hash } from 'node:crypto'
import type { GateStatus } from '../admin/status.ts'
import { bundledDatabases } from '../geo/bundled.ts'
import type { DatabaseState } from '../geo/country-lookup.ts'
import { createCountryLookup } from '../geo/lookup.ts'
import { buildOverlay } from '../journal/store-overlay.ts'
import { parseAddress, type Address } from '../net/address.ts'
import { TLS_VERSIONS, type TlsVersion } from '../net/tls-version.ts'
import type { ExplainQuestion } from '../policy/explain.ts'
import type { SourceFacts } from '../policy/facts.ts'
import type { Listener, Overlay, Snapshot } from '../policy/snapshot.ts'
import { usageError, type CommandArguments } from './command.ts'
import { openStore } from './gate-access.ts'
import { suggest } from '../config/spelling.ts'

/** Reads an address argument. @throws PortcullisError `usage` */
export function requireAddress(text: string | undefined, command: string): Address {
  if (text === undefined)
    throw usageError(`${command} needs an address`, `For example: portcullis ${command} 198.51.100.7`)
  const address = parseAddress(text.trim().replace(/^\[|\]$/g, ''))
  if (address !== undefined) return address
  throw usageError(
    `"${text}" is not an IP address`,
    'Write the public address of the site, for example 198.51.100.7.',
  )
}

/** Countries of an address, by the databases that the gate uses. */
export async function lookUp(
  snapshot: Snapshot,
  address: Address,
  nowMs: () => number,
): Promise<{ readonly source: SourceFacts; readonly databases: readonly DatabaseState[] }> {
  const countries = await createCountryLookup({
    directory: snapshot.directories.geoip,
    bundled: bundledDatabases(),
    reporter: { report: () => undefined },
    clock: nowMs,
  })
  try {
    return { source: { address, geo: countries.lookup(address) }, databases: countries.databases() }
  } finally {
    countries.close()
  }
}

/** Bans and allows that operators set, from the store. */
export function storedOverlay(snapshot: Snapshot): Overlay {
  const store = openStore(snapshot)
  try {
    return store === undefined ? buildOverlay([]) : buildOverlay(store.overlay.list(), store.rules.promoted())
  } finally {
    store?.close()
  }
}

/** The question that `--host --path --method --tls` ask. */
export function questionOf(
  args: CommandArguments,
  snapshot: Snapshot,
  source: SourceFacts,
  status: GateStatus | undefined,
  nowMs: number,
): ExplainQuestion {
  const target = args.text('path')
  if (target !== undefined && !target.startsWith('/'))
    throw usageError('--path starts with a slash', 'For example --path /LabTech/Agent.aspx')
  return {
    source,
    listener: listenerOf(args.text('listener'), snapshot),
    nowMs,
    host: args.text('host')?.toLowerCase() ?? null,
    tlsVersions: tlsOf(args.text('tls')),
    request:
      target === undefined
        ? null
        : {
            method: (args.text('method') ?? 'GET').toUpperCase(),
            target,
            webSocket: args.flag('websocket'),
            headers: new Map(),
          },
    isUpstreamUp: upstreamUp(status),
    sha256Hex: text => hash('sha256', text),
  }
}

/** Whether a group is up, as the running gate sees it; without a gate every group counts as up. */
export function upstreamUp(status: GateStatus | undefined): (group: string) => boolean {
  return group => {
    const members = status?.upstreams.filter(member => member.group === group) ?? []
    return members.length === 0 || members.some(member => member.state !== 'down')
  }
}

/** The listener of that name, else the first. */
function listenerOf(id: string | undefined, snapshot: Snapshot): Listener {
  const found =
    id === undefined ? snapshot.listeners[0] : snapshot.listeners.find(listener => listener.id === id)
  if (found !== undefined) return found
  throw usageError(
    `there is no listener "${id ?? ''}"`,
    `Listeners are ${snapshot.listeners.map(entry => entry.id).join(', ')}.`,
  )
}

function tlsOf(text: string | undefined): readonly TlsVersion[] | null {
  if (text === undefined) return null
  return text.split(',').map(word => {
    const number = /^(?:tls)?v?\s*1\.?([0-3])$/i.exec(word.trim())?.[1]
    const version = TLS_VERSIONS[Number(number)]
    if (number !== undefined && version !== undefined) return version
    const suggestion = suggest(word, TLS_VERSIONS)
    throw usageError(
      `"${word}" is not a TLS version`,
      suggestion === undefined ? 'Write 1.0, 1.1, 1.2 or 1.3.' : `Did you mean ${suggestion}?`,
    )
  })
}
