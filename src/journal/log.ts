// The log: JSON lines by pino to standard output and to numbered files, and the numbered gateway log for people.
import { pino, type Logger } from 'pino'
import type { JournalPolicy } from '../policy/snapshot.ts'
import { CATALOGUE, gatewayTexts } from './catalogue.ts'
import type { EventFields, EventName, Severity } from './events.ts'
import { formatGatewayLine } from './gateway-line.ts'
import { createLineSink, SINK_LIMITS, type LineSink } from './line-sink.ts'
import { escapeControls } from './redact.ts'
import { createRotatingFile } from './rotating-file.ts'

/** What a log needs. */
export type LogOptions = {
  readonly policy: JournalPolicy
  /** Where lines go that are not for files: standard output, or a test. It is not closed by the log. */
  readonly standard: LineSink
  readonly clock: () => number
}

/** The log. */
export type Log = {
  /** Writes a line. Fields are already redacted. */
  readonly write: (
    name: EventName,
    severity: Severity,
    fields: Record<string, unknown>,
    sentence: string,
    nowMs: number,
  ) => void
  /** Opens and closes files as the policy says now. */
  readonly reconfigure: (policy: JournalPolicy) => void
  readonly flush: () => Promise<void>
  /** Flushes for at most two seconds, then closes the files. */
  readonly close: () => Promise<void>
  readonly takeDropped: () => { readonly lines: number; readonly why: string }
}

const CLOSE_MS = 2_000
const LEVELS = { debug: 'debug', info: 'info', warning: 'warn', error: 'error' } as const

/** Opens the log. */
export function createLog(options: LogOptions): Log {
  const { clock, standard } = options
  let json: readonly LineSink[] = []
  let gateway: LineSink | null = null
  let files: readonly LineSink[] = []
  let filesKey = ''
  const closing = new Set<Promise<void>>()
  let lineMs = 0
  const logger: Logger = pino(
    {
      level: 'debug',
      base: null,
      timestamp: () => `,"time":"${new Date(lineMs).toISOString()}"`,
      formatters: { level: label => ({ level: label }) },
    },
    {
      write: (line: string) => {
        const text = line.endsWith('\n') ? line.slice(0, -1) : line
        for (const sink of json) sink.write(text)
      },
    },
  )

  const reconfigure = (policy: JournalPolicy): void => {
    const wantsFiles = policy.log !== 'stdout'
    const key = wantsFiles ? `${policy.logDir}|${policy.logMaxBytes}|${policy.logFiles}` : ''
    if (key !== filesKey) {
      for (const sink of files) {
        const ended = sink.close().catch(() => undefined)
        closing.add(ended)
        void ended.finally(() => closing.delete(ended))
      }
      filesKey = key
      files = wantsFiles ? [fileSink(policy, '.json'), fileSink(policy, '.log')] : []
    }
    const [jsonFile, gatewayFile] = files
    gateway = gatewayFile ?? null
    json = [...(policy.log === 'file' ? [] : [standard]), ...(jsonFile === undefined ? [] : [jsonFile])]
  }
  reconfigure(options.policy)

  return {
    write: (name, severity, fields, sentence, nowMs) => {
      lineMs = Number.isFinite(nowMs) ? nowMs : clock()
      // `code` is the code of the event; a code inside the fields says what caused it.
      const { code: cause, ...rest } = fields
      const code = CATALOGUE[name].code
      const line =
        cause === undefined ? { event: name, code, ...rest } : { event: name, code, cause, ...rest }
      logger[LEVELS[severity]](line, sentence)
      if (gateway === null) return
      for (const text of gatewayTexts(name, fields as EventFields[EventName])) {
        gateway.write(formatGatewayLine(lineMs, escapeControls(text)))
      }
    },
    reconfigure,
    flush: async () => {
      await Promise.all([...json, ...files].map(sink => sink.flush()))
    },
    close: async () => {
      const done = Promise.all([standard.flush(), ...files.map(sink => sink.close()), ...closing])
      let timer: NodeJS.Timeout | undefined
      // A reader of standard output that has stopped must not keep the gate from ending.
      const late = new Promise(resolve => {
        timer = setTimeout(resolve, CLOSE_MS)
      })
      await Promise.race([done, late])
      clearTimeout(timer)
    },
    takeDropped: () => {
      let lines = 0
      let why = ''
      for (const sink of new Set([...json, ...files])) {
        const dropped = sink.takeDropped()
        lines += dropped.lines
        if (dropped.lines > 0) why = dropped.why
      }
      return { lines, why }
    },
  }
}

function fileSink(policy: JournalPolicy, extension: '.json' | '.log'): LineSink {
  const writer = createRotatingFile({
    directory: policy.logDir,
    name: 'GW',
    extension,
    maxBytes: policy.logMaxBytes,
    files: policy.logFiles,
  })
  return createLineSink(writer, {
    ...SINK_LIMITS,
    maxChunk: Math.min(SINK_LIMITS.maxChunk, policy.logMaxBytes),
  })
}
