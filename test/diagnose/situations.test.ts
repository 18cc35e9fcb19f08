// Situations that support meets, played with real clients against a real gate: the diagnosis names the cause, and its fix fixes it.
import test from 'ava'
import { CLIENT_SITUATIONS } from './situations/clients.ts'
import { HEARTBEAT_SITUATIONS } from './situations/heartbeats.ts'
import { POLICY_SITUATIONS } from './situations/policy.ts'
import { STREAM_SITUATIONS } from './situations/streams.ts'
import { play } from './stage.ts'

play(test, [...POLICY_SITUATIONS, ...CLIENT_SITUATIONS, ...STREAM_SITUATIONS, ...HEARTBEAT_SITUATIONS])
