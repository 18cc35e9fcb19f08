// How the answer about raw TCP reads: one row for each service of each stream listener, and as plain JSON.
import { endpointsText, serviceText } from '../config/describe.ts'
import type { ExplainedStream } from '../policy/explain-stream.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { refusalWords, triedWords, wouldBeJson } from './explanation.ts'
import type { Terminal } from './terminal.ts'

/** Rows for the streams; none when there are no streams. */
export function streamLines(streams: readonly ExplainedStream[], terminal: Terminal): readonly string[] {
  if (streams.length === 0) return []
  const bad = terminal.tone('bad', 'refused')
  const good = terminal.tone('good', 'open')
  const rows = streams.flatMap(({ listener, refusal, services }) => {
    const name = [listener.id, endpointsText(listener.endpoints)]
    if (refusal !== null) return [[...name, bad, refusalWords(refusal)]]
    const internal = [...listener.internalPorts.keys()].filter(port =>
      listener.endpoints.some(endpoint => endpoint.port === port),
    )
    return [
      ...services.map(entry => [
        ...name,
        entry.refusal !== null ? bad : entry.wouldBe === null ? good : terminal.tone('warn', 'on trial'),
        entry.refusal !== null
          ? refusalWords(entry.refusal)
          : entry.wouldBe === null
            ? serviceText(entry.service)
            : triedWords(entry.wouldBe),
      ]),
      ...(internal.length === 0
        ? []
        : [[...name, '', `trusted addresses only: port ${internal.join(', ')}`]]),
    ]
  })
  return ['', 'Streams (raw TCP)', terminal.table(rows, '  ')]
}

/** The same as plain data. */
export function streamsJson(streams: readonly ExplainedStream[]): unknown {
  return streams.map(({ listener, refusal, services }) => ({
    listener: listener.id,
    allowed: refusal === null,
    reason: refusal?.reason ?? null,
    line: formatSourceLine(refusal?.line ?? listener.at),
    services: services.map(entry => ({
      starts: entry.service.start,
      class: entry.service.class,
      allowed: entry.refusal === null,
      reason: entry.refusal?.reason ?? null,
      wouldBe: wouldBeJson(entry.wouldBe),
      line: formatSourceLine(entry.refusal?.line ?? entry.service.at),
    })),
  }))
}
