// Of the events page: new events appear at the top by themselves. Without this module the page is right when it is loaded.
const MOST_ROWS = 300

const live = document.querySelector('#live')
const rows = document.querySelector('#events')
const state = document.querySelector('#live-state')
const button = document.querySelector('#live-pause')

if (live !== null && rows !== null && state !== null && button !== null) {
  const waiting = []
  let isPaused = false

  const say = text => {
    if (state.textContent !== text) state.textContent = text
  }
  const tell = () => {
    if (isPaused) say(waiting.length === 0 ? 'Paused' : `Paused, ${waiting.length} new`)
    else say('Following')
  }
  const show = () => {
    while (waiting.length > 0) rows.prepend(waiting.shift())
    while (rows.rows.length > MOST_ROWS) rows.deleteRow(-1)
    if (rows.rows.length > 0) document.querySelector('#no-events')?.remove()
  }

  const source = new EventSource(live.dataset.stream)
  source.addEventListener('open', tell)
  source.addEventListener('rows', event => {
    const template = document.createElement('template')
    // Made by the gate with every value escaped, exactly as the rows of the page itself.
    template.innerHTML = event.data
    const fresh = [...template.content.querySelectorAll('tr')]
    for (const row of fresh) row.classList.add('fresh')
    // Newest first within the event, oldest first in what waits.
    waiting.push(...fresh.toReversed())
    waiting.splice(0, Math.max(0, waiting.length - MOST_ROWS))
    if (!isPaused) show()
    tell()
  })
  source.addEventListener('error', () => {
    say(source.readyState === EventSource.CLOSED ? 'Not following: load the page again' : 'Connecting again')
  })
  button.addEventListener('click', () => {
    isPaused = !isPaused
    button.textContent = isPaused ? 'Resume' : 'Pause'
    if (!isPaused) show()
    tell()
  })
  live.hidden = false
  say('Connecting')
}
