// The raw TCP part of the gate, put together: the relay on top of the HTTPS edge.
import type { CurrentPolicy } from './edge/connection.ts'
import type { Gate } from './edge/gate.ts'
import { LoneSessions } from './edge/tcp/lone-sessions.ts'
import { createStreamRelay, type StreamRelay, type StreamRelayOptions } from './edge/tcp/relay.ts'
import type { EventFields, Reporter } from './journal/events.ts'

/** What the composition root gives. */
export type StreamPartsOptions = Omit<StreamRelayOptions, 'admission' | 'adopt' | 'clock'> & {
  readonly gate: Gate
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** Makes the relay. It counts connections together with the gate, and hands TLS on mixed listeners to it. */
export function createStreamParts({ gate, clock, ...options }: StreamPartsOptions): StreamRelay {
  return createStreamRelay({
    ...options,
    reporter: findingLoneSessions(options.reporter, options.current, clock),
    admission: gate.admission,
    adopt: gate.adopt,
    clock: {
      nowMs: clock,
      monotonicMs: () => performance.now(),
      every: (ms, tick) => {
        const timer = setInterval(tick, ms)
        timer.unref()
        return () => clearInterval(timer)
      },
    },
  })
}

/** Looks at what streams report: a client with one connection, where the product uses two, waits for notifications over UDP. */
export function findingLoneSessions(
  reporter: Reporter,
  current: CurrentPolicy,
  clock: () => number,
): Reporter {
  const sessions = new LoneSessions()
  const productOf = ({
    listener,
    localPort,
  }: EventFields['stream.opened'] | EventFields['stream.closed']) => {
    const stream = current().snapshot.streams.find(({ id }) => id === listener)
    return stream?.udpNotifications?.port === localPort ? stream : undefined
  }
  return {
    report: (name, fields) => {
      reporter.report(name, fields)
      if (name === 'stream.opened') {
        const opened = fields as EventFields['stream.opened']
        if (productOf(opened) !== undefined) sessions.opened(`${opened.listener} ${opened.address}`)
      } else if (name === 'stream.closed') {
        const closed = fields as EventFields['stream.closed']
        const stream = productOf(closed)
        if (stream?.udpNotifications === undefined) return
        const { address, port, listener, site, country, durationMs, bytesOut } = closed
        if (!sessions.closed(`${listener} ${address}`, durationMs, clock()) || bytesOut === 0) return
        reporter.report('stream.lone-session', {
          address,
          port,
          listener,
          site,
          country,
          durationMs,
          product: stream.product ?? listener,
          advice: stream.udpNotifications.advice,
        })
      }
    },
  }
}
