// A real Chromium before the dashboard of a real gate, with accounts, customers, refusals and everything that an attacker can write.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { addOperator } from '../../../src/access/edit.ts'
import { HOST, startRunningBench, type RunningBench } from '../../cli/support.ts'

const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Whether there is a browser to test with. */
export const hasChromium = existsSync(CHROMIUM)

/** Starts the browser. */
export function openChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
}
