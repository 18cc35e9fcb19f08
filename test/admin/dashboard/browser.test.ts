// The dashboard in a real Chromium: login, keyboard, phone, light and dark, accessibility, and texts of attackers on every page.
import test, { type ExecutionContext } from 'ava'
import {
  accessibilityProblems,
  crawl,
  hasChromium,
  MARKUP,
  PASSWORD,
  screenshot,
  startDashboardLab,
  tabThrough,
  type DashboardLab,
  walk,
} from './browser.ts'

const browserTest = hasChromium ? test.serial : test.skip

/** One of each kind: lists, filters, charts with links, forms, texts that scroll, pages of one thing. */
const KEYBOARD_PAGES = [
  '/',
  '/events',
  '/sites',
  '/sites/acme',
  '/world',
  '/rules',
  '/rules/windows-file',
  '/standing',
  '/plan',
  '/history/1',
  '/audit',
  '/account',
]

let lab: DashboardLab
const ends: (() => unknown)[] = []

// One gate and one browser for all of them: starting these costs more than most tests.
test.before(async () => {
  const holder = { teardown: (end: () => unknown) => void ends.unshift(end) } as unknown as ExecutionContext
  if (hasChromium) lab = await startDashboardLab(holder)
})
test.after.always(async () => {
  for (const end of ends) await end()
})

browserTest(
  'every page is accessible, keeps to its policy, fits on a phone and shows texts of attackers as text',
  async t => {
    t.timeout(300_000)
    const { page, complaints } = await lab.openAs('jane', {
      colorScheme: 'light',
      viewport: { width: 1280, height: 800 },
    })
    // A plan that loses agents: its page has more than any other that is reached by links.
    await page.goto('/plan')
    await page.fill('textarea[name=policy]', lab.policyText().replace(/home:\n\s+- US/, 'home:\n  - NZ'))
    await page.getByRole('button', { name: 'Make the plan' }).click()
    await page.getByRole('button', { name: 'Put it in force' }).waitFor()
    const problems: string[] = []
    let hostile = 0
    const pages = await walk(page, 1, async path => {
      problems.push(...(await accessibilityProblems(page)))
      await screenshot(page, `light${path}`)
      await page.emulateMedia({ colorScheme: 'dark' })
      problems.push(...(await accessibilityProblems(page, ['color-contrast'])))
      await screenshot(page, `dark${path}`)
      await page.setViewportSize({ width: 360, height: 740 })
      const { width, pwned, marked, text } = await page.evaluate<{
        width: number
        pwned: unknown
        marked: number
        text: string
      }>(
        `({
          width: document.documentElement.scrollWidth,
          pwned: window.pwned ?? null,
          marked: document.querySelectorAll("[data-pwned]").length,
          text: document.body.textContent,
        })`,
      )
      if (width > 360) problems.push(`${path}: ${width} px wide on a phone`)
      if (pwned !== null || marked > 0) problems.push(`${path}: a text became markup`)
      if (text.includes(MARKUP)) hostile++
      await screenshot(page, `phone${path}`)
      await page.setViewportSize({ width: 1280, height: 800 })
      await page.emulateMedia({ colorScheme: 'light' })
    })
    for (const path of [
      '/',
      '/events',
      '/connections',
      '/upstreams',
      '/certificates',
      '/standing',
      '/audit',
      '/account',
    ])
      t.true(pages.includes(path), path)
    t.true(pages.some(path => path.startsWith('/references/')))
    t.deepEqual(problems, [])
    t.true(hostile >= 4, `${hostile} pages show what attackers wrote`)
    t.deepEqual(
      complaints.filter(text => !text.includes('status of 404')),
      [],
    )
  },
)

browserTest('a person logs in, is told what is wrong, and is out after logging out', async t => {
  t.timeout(300_000)
  const { page, complaints } = await lab.open({ colorScheme: 'dark' })
  await page.goto('/events?severity=warning')
  t.regex(page.url(), /\/login\?next=/)
  t.deepEqual(await accessibilityProblems(page), [])
  await screenshot(page, 'login')
  await page.keyboard.type('jane')
  await page.keyboard.press('Tab')
  await page.keyboard.type('wrong')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').waitFor()
  t.regex((await page.textContent('[role=alert]')) ?? '', /Name or password is wrong/)
  t.deepEqual(await accessibilityProblems(page), [])
  await screenshot(page, 'login-wrong')
  await page.keyboard.type('jane')
  await page.keyboard.press('Tab')
  await page.keyboard.type(PASSWORD)
  await page.keyboard.press('Enter')
  await page.waitForURL('**/events?severity=warning')
  const cookies = await page.context().cookies()
  t.like(
    cookies.find(({ name }) => name === '__Host-portcullis'),
    { httpOnly: true, secure: true, sameSite: 'Strict', path: '/' },
  )
  t.is(await page.evaluate<string>('document.cookie'), '')

  // Keyboard only: the skip link first, then everything in turn and out again.
  await page.goto('/standing')
  await page.keyboard.press('Tab')
  t.is(await page.evaluate<string>('document.activeElement.textContent'), 'Skip to content')
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  t.true(await page.evaluate<boolean>('document.querySelector("main").contains(document.activeElement)'))
  const problems: string[] = []
  for (const path of KEYBOARD_PAGES) {
    const walked = await tabThrough(page, path)
    t.regex(walked.stops[0] ?? '', /Skip to content/, path)
    problems.push(...walked.problems)
  }
  t.deepEqual(problems, [])

  // On a phone the menu opens, leads on and closes by keyboard; focus returns to where it was.
  await page.setViewportSize({ width: 360, height: 740 })
  await page.goto('/standing')
  await page.locator('details.menu summary').focus()
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  t.is(await page.evaluate<string>('document.activeElement.textContent'), 'Overview')
  await page.keyboard.press('Escape')
  t.is(await page.evaluate<string>('document.activeElement.textContent'), 'Menu')
  t.false(await page.evaluate<boolean>('document.querySelector("details.menu").open'))
  await page.keyboard.press('Enter')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/events')
  await page.setViewportSize({ width: 1280, height: 720 })

  // A theme is chosen and kept without script.
  await page.goto('/')
  const background = (): Promise<string> =>
    page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
  const dark = await background()
  await page.getByRole('button', { name: 'Theme: auto' }).click()
  await page.getByRole('button', { name: 'Theme: light' }).waitFor()
  t.not(await background(), dark)
  await page.goto('/events')
  t.not(await background(), dark)

  await page.getByRole('button', { name: 'Log out' }).click()
  await page.waitForURL('**/login')
  await page.goto('/events')
  t.regex(page.url(), /\/login/)
  t.deepEqual(
    complaints.filter(text => !/status of 403/.test(text)),
    [],
  )
})

browserTest(
  'a ban is set and lifted by form, and the gate obeys; a site is not banned by mistake',
  async t => {
    t.timeout(300_000)
    const { page } = await lab.openAs('jane')
    await page.goto('/standing')
    const set = async (range: string): Promise<void> => {
      await page.getByLabel('Address or range').fill(range)
      await page.fill('input[name=reason]', 'guesses passwords')
      await page.getByRole('button', { name: 'Set it' }).click()
      await page.waitForLoadState()
    }
    await set('8.8.8.8')
    t.regex((await page.textContent('[role=status]')) ?? '', /8\.8\.8\.8 is banned for everything/)
    t.like(await lab.ask('8.8.8.8'), { error: 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED' })
    await page.getByRole('button', { name: 'End the ban of 8.8.8.8' }).click()
    await page.waitForLoadState()
    t.like(await lab.ask('8.8.8.8'), { status: 200 })
    await set('8.8.4.0/24')
    t.regex(
      (await page.textContent('[role=alert]')) ?? '',
      /2 sites: acme, other; every agent there would be refused/,
    )
    t.like(await lab.ask('8.8.4.3'), { status: 200 })
    await page.check('input[name=sure]')
    await page.getByRole('button', { name: 'Set it' }).click()
    await page.waitForLoadState()
    t.like(await lab.ask('8.8.4.3'), { error: 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED' })
    await page.getByRole('button', { name: 'End the ban of 8.8.4.0/24' }).click()
    await page.waitForLoadState()
    await page.goto('/audit?who=jane')
    t.regex((await page.textContent('main')) ?? '', /set a ban or allow \(ban 8\.8\.4\.0\/24\)/)
  },
)

browserTest(
  'new events appear by themselves, pause holds them back, and the page works without script',
  async t => {
    t.timeout(300_000)
    const { page, complaints } = await lab.openAs('jane')
    await page.goto('/events?name=connection.refused')
    await page.getByText('Following').waitFor()
    const first = (): Promise<string | null> => page.textContent('#events tr:first-child')
    await lab.ask('5.255.255.77')
    await page.locator('#events tr:first-child', { hasText: '5.255.255.77' }).waitFor()
    await page.getByRole('button', { name: 'Pause' }).click()
    await lab.ask('5.255.255.78')
    await page.getByText('Paused, 1 new').waitFor()
    t.regex((await first()) ?? '', /5\.255\.255\.77/)
    await page.getByRole('button', { name: 'Resume' }).click()
    t.regex((await first()) ?? '', /5\.255\.255\.78/)
    t.deepEqual(await accessibilityProblems(page), [])
    t.deepEqual(complaints, [])
    const plain = await lab.openAs('jane', { javaScriptEnabled: false })
    await plain.page.goto('/events')
    await plain.page.fill('input[name=address]', '5.255.255.0/24')
    await plain.page.click('main button.primary')
    await plain.page.waitForLoadState()
    t.is(await plain.page.locator('#events tr').count(), 3)
  },
)

browserTest(
  'whoever is limited to a site sees nothing of another on any page, by link or by guess',
  async t => {
    t.timeout(300_000)
    const admin = await lab.openAs('jane')
    const all = await crawl(admin.context, 1, () => undefined)
    const { context, page } = await lab.openAs('limited')
    const leaks: string[] = []
    const look = (path: string, text: string): void => {
      for (const secret of ['8.8.4.3<', 'Acme Dental', '203.0.113.66', '5.255.255.5'])
        if (text.includes(secret) && !decodeURIComponent(path).includes(secret))
          leaks.push(`${path}: ${secret}`)
    }
    const own = await crawl(context, 1, look)
    for (const path of all) {
      if (!own.includes(path)) look(path, await (await context.request.get(path)).text())
    }
    t.deepEqual(leaks, [])
    t.true(own.length >= 4 && own.length < all.length)
    await page.goto('/events?site=acme')
    t.is(await page.locator('#events tr').count(), 0)
    await page.goto('/events?site=other')
    t.true((await page.locator('#events tr').count()) > 0)
  },
)

browserTest(
  'another web page can neither change anything, read anything, nor show the dashboard in a frame',
  async t => {
    t.timeout(300_000)
    const { page, context } = await lab.openAs('jane')
    await page.goto('/standing')
    const token = await page.inputValue('form[action="/standing/add"] input[name=csrf]')
    await context.route('https://evil.example/**', route =>
      route.fulfill({
        contentType: 'text/html',
        body: `<iframe src="${lab.origin}/"></iframe><form method=post action="${lab.origin}/standing/add"><input name=csrf value="${token}"><input name=kind value=ban><input name=range value=8.8.8.8><input name=reason value=x><input name=span value=1h></form>`,
      }),
    )
    const evil = await context.newPage()
    await evil.goto('https://evil.example/')
    const read = await evil.evaluate<string>(
      `fetch('${lab.origin}/', { credentials: 'include' }).then(() => 'read', () => 'refused')`,
    )
    t.is(read, 'refused')
    const written = `fetch('${lab.origin}/standing/add', { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'kind=ban&range=8.8.8.8&reason=x&span=1h&csrf=${token}' }).then(() => 1, () => 1)`
    await evil.evaluate(written)
    const frame = evil.frames().find(entry => entry !== evil.mainFrame())
    // Chromium puts its own page in place of what may not be framed.
    t.false(frame?.url().startsWith(lab.origin) === true && /Overview/.test(await frame.content()))
    const answered = evil.waitForResponse(response => response.url() === `${lab.origin}/standing/add`)
    await evil.evaluate('document.forms[0].submit()')
    t.is((await answered).status(), 403)
    t.like(await lab.ask('8.8.8.8'), { status: 200 })
    await page.goto('/')
    t.is(await page.textContent('h1'), 'Overview')
  },
)
