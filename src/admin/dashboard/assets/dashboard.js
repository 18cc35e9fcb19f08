// Of every page: keeps relative times current and renews pages that ask for it. Everything works without it.

/** The same words as `agoText` of components.ts. */
function agoText(timeMs, nowMs) {
  const distance = Math.abs(nowMs - timeMs)
  if (distance < 5_000) return 'just now'
  const text = durationText(distance)
  return timeMs > nowMs ? `in ${text}` : `${text} ago`
}

function durationText(durationMs) {
  if (durationMs < 60_000) return `${Math.floor(durationMs / 1_000)} s`
  if (durationMs < 3_600_000) return `${Math.floor(durationMs / 60_000)} min`
  if (durationMs < 172_800_000) return `${Math.floor(durationMs / 3_600_000)} h`
  return `${Math.floor(durationMs / 86_400_000)} d`
}

function tellTimes() {
  const nowMs = Date.now()
  for (const element of document.querySelectorAll('time[data-ago]')) {
    const text = agoText(Date.parse(element.dateTime), nowMs)
    if (element.textContent !== text) element.textContent = text
  }
}

/** Whether somebody is in the middle of something that a renewed page would take away. */
function isBusy(main) {
  const active = document.activeElement
  const inside = active !== null && active !== main && main.contains(active)
  const selection = document.getSelection()
  const selects = selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode)
  return inside || selects || document.hidden || main.querySelector('details[open]') !== null
}

async function renew() {
  const main = document.querySelector('main')
  if (main === null || isBusy(main)) return
  const answer = await fetch(location.href, { headers: { 'x-portcullis-renew': '1' }, redirect: 'manual' })
  // Logged out meanwhile: the browser goes to the login by itself.
  if (answer.type === 'opaqueredirect') location.reload()
  if (!answer.ok) return
  const next = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('main')
  if (next === null || isBusy(main)) return
  main.replaceChildren(...next.childNodes)
  tellTimes()
}

// Escape closes what is open, the innermost first, and the keyboard stands where it was opened.
document.addEventListener('keydown', event => {
  if (event.key !== 'Escape') return
  const open =
    document.activeElement?.closest('details[open]') ?? document.querySelector('details.menu[open]')
  if (open === null) return
  open.open = false
  open.querySelector('summary')?.focus()
})

const main = document.querySelector('main')
const seconds = Number(main?.dataset.refresh ?? 0)
if (seconds > 0) {
  let isPaused = false
  const button = document.querySelector('#pause')
  if (button !== null) {
    button.hidden = false
    button.addEventListener('click', () => {
      isPaused = !isPaused
      button.textContent = isPaused ? 'Resume updates' : 'Pause updates'
    })
  }
  setInterval(() => {
    if (!isPaused) renew().catch(() => undefined)
  }, seconds * 1_000)
}
setInterval(tellTimes, 5_000)
