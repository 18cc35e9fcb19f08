// The raw TCP part of the gate, put together: the relay on top of the HTTPS edge.
import type { Gate } from './edge/gate.ts'
import { createStreamRelay, type StreamRelay, type StreamRelayOptions } from './edge/tcp/relay.ts'

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
