// portcullis tls-report: who still needs old TLS, per site and week, what covers them, and what would break if the minimum rose.
import { bundledDatabases } from '../../geo/bundled.ts'
import { createCountryLookup } from '../../geo/lookup.ts'
import type { LedgerSum } from '../../journal/ledger-facts.ts'
import type { StoreReader } from '../../journal/store-core.ts'
import type { TlsVersion } from '../../net/tls-version.ts'
import type { Replay } from '../../plan/replay.ts'
import { tlsNeeds, whatWouldBreak, type OldTlsDevice, type TlsNeeds } from '../../plan/tls-needs.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { csvLine } from '../csv.ts'
import { counted, formatAgo, formatDay, formatSpan, formatTime, parseDuration } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import { storedOverlay } from '../question.ts'
import type { Terminal } from '../terminal.ts'

const SHOWN = 25

export const tlsReportCommand: Command = {
  name: 'tls-report',
  usage: 'tls-report [--minimum TLSv1.2] [--since 8w]',
  summary: 'Devices that still need old TLS, per site, and what would break without it',
  examples: [
    'portcullis tls-report',
    'portcullis tls-report --minimum TLSv1.3 --since 4w',
    'portcullis tls-report --csv > old-tls.csv',
  ],
  options: {
    minimum: {
      type: 'string',
      value: '<version>',
      help: 'the minimum that is wanted: TLSv1.2 or TLSv1.3 (default: TLSv1.2)',
    },
    since: { type: 'string', value: '<time>', help: 'how far back: 7d, 8w (default: 8w)' },
    site: { type: 'string', value: '<id>', help: 'only this site' },
    csv: { type: 'boolean', help: 'print the devices as CSV' },
  },
  run: async (args, context) => {
    const minimum = minimumOf(args.text('minimum') ?? 'TLSv1.2')
    const sinceText = args.text('since') ?? '8w'
    const spanMs = parseDuration(sinceText)
    if (spanMs === undefined || spanMs === 0)
      throw usageError(`"${sinceText}" is not a time`, 'Write 7d or 8w.')
    const { snapshot } = requirePolicy(args, context)
    const site = args.text('site') ?? null
    if (site !== null && !snapshot.sites.some(entry => entry.id === site))
      throw usageError(`there is no site "${site}"`, 'See: portcullis sites')
    await askGate(snapshot, 'POST', '/v1/flush')
    const store = openStore(snapshot)
    if (store === undefined) {
      if (args.flag('json')) context.terminal.json({ minimum, report: null, rising: null })
      else if (!args.flag('csv'))
        context.terminal.print(`Nothing has been recorded yet in ${snapshot.directories.state}.`)
      return 0
    }
    try {
      return await report(store, { snapshot, minimum, spanMs, site }, args, context)
    } finally {
      store.close()
    }
  },
}

type Asked = {
  readonly snapshot: Snapshot
  readonly minimum: TlsVersion
  readonly spanMs: number
  readonly site: string | null
}

async function report(
  store: StoreReader,
  asked: Asked,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { snapshot, minimum, spanMs, site } = asked
  const { terminal } = context
  const nowMs = context.nowMs()
  const countries = await createCountryLookup({
    directory: snapshot.directories.geoip,
    bundled: bundledDatabases(),
    reporter: { report: () => undefined },
    clock: context.nowMs,
  })
  try {
    const question = { snapshot, overlay: storedOverlay(snapshot), lookup: countries.lookup, minimum, nowMs }
    const whole = tlsNeeds(question, store.ledger.all(nowMs - spanMs))
    const needs = site === null ? whole : onlySite(whole, site)
    if (args.flag('csv')) {
      for (const line of csvOf(needs)) terminal.print(line)
      return 0
    }
    const rising = whatWouldBreak(question, hourly(store, nowMs - spanMs))
    if (args.flag('json')) terminal.json({ sinceMs: nowMs - spanMs, report: needs, rising })
    else show(needs, rising, spanMs, context)
    return 0
  } finally {
    countries.close()
  }
}

function* hourly(store: StoreReader, sinceMs: number): Generator<LedgerSum> {
  for (const row of store.ledger.all(sinceMs)) yield { ...row, hours: 1 }
}

function onlySite(needs: TlsNeeds, site: string): TlsNeeds {
  const own = (entry: { readonly site: string | null }): boolean => entry.site === site
  return {
    ...needs,
    devices: needs.devices.filter(own),
    weeks: needs.weeks.filter(own),
    exceptions: needs.exceptions.filter(own),
  }
}

function minimumOf(text: string): TlsVersion {
  const number = /^(?:tls)?v?\s*1\.?([23])$/i.exec(text.trim())?.[1]
  if (number !== undefined) return number === '3' ? 'TLSv1.3' : 'TLSv1.2'
  throw usageError(
    `--minimum: "${text}" is not TLSv1.2 or TLSv1.3`,
    'Older versions are no minimum that anybody should want.',
  )
}

function show(needs: TlsNeeds, rising: Replay, spanMs: number, context: CommandContext): void {
  const { terminal } = context
  const { devices, minimum } = needs
  if (devices.length === 0) {
    terminal.print(
      terminal.tone('good', `✓ Nothing below ${minimum} was offered in the last ${formatSpan(spanMs)}.`),
    )
  } else {
    const refused = devices.filter(device => device.refused).length
    terminal.print(
      `${counted(devices.length, 'device')} offered less than ${minimum} in the last ${formatSpan(spanMs)}; ${refused} ${refused === 1 ? 'is' : 'are'} refused for it now.`,
      terminal.tone(
        'dim',
        'A device is an address and a TLS fingerprint: equal machines behind one address count once.',
      ),
      '',
    )
    showDevices(devices, context)
    if (needs.truncated) terminal.print('  There were more devices than are kept apart.')
    showTrend(needs, terminal)
  }
  showExceptions(needs, context)
  showRising(rising, minimum, terminal)
}

function showDevices(devices: readonly OldTlsDevice[], { terminal, nowMs }: CommandContext): void {
  const head = ['site', 'address', 'strongest', 'fingerprint', 'client', 'last', 'state'].map(word =>
    terminal.tone('dim', word),
  )
  const rows = devices
    .slice(0, SHOWN)
    .map(device => [
      device.site ?? '-',
      device.address,
      device.strongest,
      device.ja4 ?? '-',
      device.userAgents.join(', ') || '-',
      formatAgo(device.lastMs, nowMs()),
      stateOf(device, terminal),
    ])
  terminal.print(terminal.table([head, ...rows]))
  if (devices.length > SHOWN) terminal.print(`and ${devices.length - SHOWN} more: see --csv`)
}

function stateOf(device: OldTlsDevice, terminal: Terminal): string {
  if (device.refused) return terminal.tone('bad', 'refused')
  if (device.trialEndsMs !== null)
    return terminal.tone('warn', `on trial until ${formatDay(device.trialEndsMs - 1)}`)
  if (device.exceptionEndsMs !== null)
    return terminal.tone('warn', `exception until ${formatDay(device.exceptionEndsMs - 1)}`)
  return 'admitted'
}

function showTrend({ weeks }: TlsNeeds, terminal: Terminal): void {
  const starts = [...new Set(weeks.map(week => week.weekMs))].slice(-8)
  const sites = [...new Set(weeks.map(week => week.site))]
  const head = ['site', ...starts.map(start => formatDay(start).slice(5)), ''].map(word =>
    terminal.tone('dim', word),
  )
  const rows = sites.map(site => {
    const counts = starts.map(
      start => weeks.find(week => week.site === site && week.weekMs === start)?.devices ?? 0,
    )
    const [first = 0, last = 0] = [counts[0], counts.at(-1)]
    const trend =
      counts.length < 2
        ? ''
        : last < first
          ? terminal.tone('good', 'falling')
          : last > first
            ? terminal.tone('bad', 'rising')
            : 'steady'
    return [site ?? 'no site', ...counts.map(String), trend]
  })
  terminal.print('', 'Devices by week (Monday):', terminal.table([head, ...rows.slice(0, SHOWN)], '  '))
}

function showExceptions({ exceptions }: TlsNeeds, { terminal, nowMs }: CommandContext): void {
  if (exceptions.length === 0) return
  const rows = exceptions.map(entry => [
    entry.site,
    `${entry.minimum} until ${formatDay(entry.expiresMs - 1)}`,
    entry.expiresMs <= nowMs() ? terminal.tone('bad', 'ended') : formatAgo(entry.expiresMs, nowMs()),
    entry.devices === 0
      ? terminal.tone('good', 'nobody uses it: it can go')
      : counted(entry.devices, 'device'),
    `${entry.reason} (${entry.owner})`,
  ])
  terminal.print('', 'Exceptions:', terminal.table(rows, '  '))
}

function showRising(rising: Replay, minimum: TlsVersion, terminal: Terminal): void {
  const lost = rising.changes.filter(change => change.kind === 'lost')
  terminal.print('')
  if (lost.length === 0) {
    terminal.print(
      terminal.tone('good', `✓ With ${minimum} as the minimum everywhere, nobody more would be refused.`),
    )
    return
  }
  const addresses = new Set(lost.map(change => change.address))
  terminal.print(
    terminal.tone(
      rising.lostAgents > 0 ? 'bad' : 'warn',
      `With ${minimum} as the minimum everywhere (exceptions of sites kept) ${counted(addresses.size, 'source')} would be lost, ${rising.lostAgents} with active agents:`,
    ),
    terminal.table(
      lost
        .slice(0, SHOWN)
        .map(change => [
          change.site ?? '-',
          change.address,
          change.class ?? '-',
          `last ${formatTime(change.lastMs)}`,
          change.saw,
        ]),
      '  ',
    ),
    '  The fix on Windows is in docs/troubleshooting.md; bin/diagnose <address> prints it for a device.',
  )
  if (lost.length > SHOWN) terminal.print(`  and ${lost.length - SHOWN} more: see --json`)
}

function csvOf({ devices }: TlsNeeds): readonly string[] {
  const day = (ms: number): string => new Date(ms).toISOString()
  return [
    csvLine([
      'site',
      'address',
      'strongest',
      'fingerprint',
      'client',
      'requests',
      'first',
      'last',
      'trial_until',
      'refused',
      'exception_until',
    ]),
    ...devices.map(device =>
      csvLine([
        device.site,
        device.address,
        device.strongest,
        device.ja4,
        device.userAgents.join(' '),
        device.count,
        day(device.firstMs),
        day(device.lastMs),
        device.trialEndsMs === null ? null : formatDay(device.trialEndsMs - 1),
        device.refused ? 'yes' : 'no',
        device.exceptionEndsMs === null ? null : formatDay(device.exceptionEndsMs - 1),
      ]),
    ),
  ]
}
