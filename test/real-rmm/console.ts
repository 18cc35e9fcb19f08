// The console of MeshCentral in a real Chromium on a host of the lab: login, device, terminal.
import { chmod, writeFile } from 'node:fs/promises'
import { chromium, type Browser, type Page } from 'playwright-core'
import type { NetLab } from '../support/netlab.ts'
import { ACCOUNT } from './meshcentral.ts'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--ignore-certificate-errors',
]

/** Starts Chromium on a host; `wrapper` is where its start script may be written. */
export async function openBrowser(lab: NetLab, host: string, wrapper: string): Promise<Browser> {
  await writeFile(wrapper, `#!/bin/sh\nexec ${lab.prefix(host).join(' ')} /usr/bin/chromium "$@"\n`)
  await chmod(wrapper, 0o755)
  return chromium.launch({ executablePath: wrapper, args: FLAGS })
}

/** Logs in and opens the terminal of the first device. */
export async function openTerminal(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage({ bypassCSP: true })
  await page.goto(url)
  await page.fill('#username', ACCOUNT.user)
  await page.fill('#password', ACCOUNT.password)
  await page.click('#loginButton')
  await page.waitForFunction(
    'typeof nodes !== "undefined" && nodes !== null && nodes.length > 0 && (nodes[0].conn & 1) !== 0',
  )
  await page.evaluate('gotoDevice(nodes[0]._id, 12)')
  await page.click('#connectbutton2')
  await page.getByText('Connected', { exact: true }).waitFor()
  await page.waitForFunction('document.querySelector(".xterm-screen") !== null')
  return page
}

/** Types a command into the terminal. */
export async function typeCommand(page: Page, command: string): Promise<void> {
  await page.click('.xterm-screen')
  await page.keyboard.type(`${command}\n`)
}
