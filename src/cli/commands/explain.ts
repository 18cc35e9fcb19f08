// portcullis explain: what a source would get, and which line decides; asks the decisions that live traffic asks.
import type { GateStatus } from '../../admin/status.ts'
import { explain } from '../../policy/explain.ts'
import { explainStream } from '../../policy/explain-stream.ts'
import { CommandArguments, type Command } from '../command.ts'
import { accessLines, explanationJson, refusalWords, standingLines, stepLines } from '../explanation.ts'
import { askGate, requirePolicy } from '../gate-access.ts'
import { streamLines, streamsJson } from '../stream-explanation.ts'
import { lookUp, questionOf, requireAddress, storedOverlay } from '../question.ts'

export const explainCommand: Command = {
  name: 'explain',
  usage: 'explain <ip> [--host <name>] [--path <target>] [--method <method>] [--tls 1.0,1.1]',
  summary: 'What an address would get, and which line decides',
  examples: [
    'portcullis explain 198.51.100.7',
    'portcullis explain 198.51.100.7 --path /LabTech/Agent.aspx --method POST --tls 1.0',
  ],
  options: {
    host: {
      type: 'string',
      value: '<name>',
      help: 'host name that the client asks for (default: the first name)',
    },
    path: { type: 'string', value: '<target>', help: 'path and query of a request' },
    method: { type: 'string', value: '<method>', help: 'method of the request (default: GET)' },
    websocket: { type: 'boolean', help: 'the request opens a WebSocket' },
    tls: {
      type: 'string',
      value: '<versions>',
      help: 'TLS versions that the client offers, for example 1.0,1.1',
    },
    listener: { type: 'string', value: '<id>', help: 'listener that is reached (default: the first)' },
  },
  run: async (args, context) => {
    const { terminal } = context
    const address = requireAddress(args.positionals[0], 'explain')
    const { snapshot } = requirePolicy(args, context)
    const status = (await askGate(snapshot, 'GET', '/v1/status')) as GateStatus | undefined
    const { source, databases } = await lookUp(snapshot, address, context.nowMs)
    const nowMs = context.nowMs()
    const overlay = storedOverlay(snapshot)
    const asked = args.text('listener')
    const isStream = snapshot.streams.some(({ id }) => id === asked)
    const streams = snapshot.streams
      .filter(({ id }) => !isStream || id === asked)
      .map(entry => explainStream(snapshot, overlay, source, entry, nowMs))
    const words = isStream ? new CommandArguments({ host: args.text('host') }, []) : args
    const answer = explain(snapshot, overlay, questionOf(words, snapshot, source, status, nowMs))
    if (args.flag('json')) {
      const data = { ...(explanationJson(answer, databases) as object), streams: streamsJson(streams) }
      terminal.json({ gateRunning: status !== undefined, ...data })
      return 0
    }
    terminal.print(
      ...standingLines(answer, databases, nowMs, terminal),
      '',
      'Connection',
      ...stepLines(answer.accept.steps, terminal),
    )
    if (isStream) {
      for (const { steps, services } of streams)
        terminal.print(
          '',
          `Stream ${asked ?? ''}`,
          ...stepLines([...steps, ...services.flatMap(entry => entry.steps)], terminal),
        )
      terminal.print(...streamLines(streams, terminal))
      return 0
    }
    const hello = answer.hello.find(entry => entry.verdict.allow) ?? answer.hello[0]
    const connected = answer.accept.verdict.allow
    if (connected && args.text('tls') !== undefined && hello !== undefined) {
      terminal.print('', `TLS, offering ${hello.offered.join(', ')}`, ...stepLines(hello.steps, terminal))
    }
    terminal.print('', 'What it gets', ...accessLines(answer, terminal), ...streamLines(streams, terminal))
    if (answer.request !== null) {
      const { verdict, steps } = answer.request
      const early = !verdict.allow && steps.length === 0
      const words = verdict.allow
        ? terminal.tone('good', `✓ passes as class ${verdict.class}`)
        : terminal.tone(
            'bad',
            early
              ? '✗ never asked: the client is refused before'
              : `✗ refused: ${refusalWords(verdict.refusal)}`,
          )
      terminal.print(
        '',
        `${args.text('method')?.toUpperCase() ?? 'GET'} ${args.text('path') ?? ''}`,
        ...stepLines(steps, terminal),
        terminal.wrap(words, '  ', '  '),
      )
    }
    if (status === undefined)
      terminal.print('', terminal.tone('dim', 'No gate runs with this policy: upstream state is not known.'))
    return 0
  },
}
