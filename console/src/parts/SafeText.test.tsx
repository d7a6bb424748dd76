import { cleanup, fireEvent, render, screen } from '@testing-library/react'
import { afterEach, describe, expect, test } from 'vitest'
import { SafeText } from './SafeText'

afterEach(cleanup)

describe('SafeText', () => {
  test.each([
    ['a script', '<script>window.owned = true</script>', '<script>window.owned = true</script>'],
    ['a picture that acts', '<img src=x onerror="window.owned = true">', '<img src=x onerror="window.owned = true">'],
    ['an entity', '&lt;b&gt; &#x41;', '&lt;b&gt; &#x41;'],
    ['marks of direction', 'a\u202Eb\u2066c', 'a⟦RLO⟧b⟦LRI⟧c'],
    ['ANSI', '\x1b[2J\x1b[1;1Hgone', '␛[2J␛[1;1Hgone'],
  ])('shows %s as text', (_, text, shown) => {
    const { container } = render(<SafeText text={text} />)
    expect(container.textContent).toBe(shown)
    expect([...container.querySelectorAll('*')].map((each) => each.tagName).filter((tag) => tag !== 'SPAN' && tag !== 'BDI')).toEqual([])
    expect(window).not.toHaveProperty('owned')
  })

  test('stands in an isolate of its own: its direction does not reach its neighbours', () => {
    const { container } = render(<SafeText text="שלום" />)
    expect(container.querySelector('bdi')?.textContent).toBe('שלום')
  })

  test('clips 4 KB and lets the reader see the rest', () => {
    const text = 'x'.repeat(4096)
    const { container } = render(<SafeText text={text} max={100} />)
    expect(container.querySelector('bdi')?.textContent).toHaveLength(100)
    const button = screen.getByRole('button', { expanded: false })
    fireEvent.click(button)
    expect(container.querySelector('bdi')?.textContent).toBe(text)
    expect(button.getAttribute('aria-expanded')).toBe('true')
  })

  test('stands still in a row: a title, no button', () => {
    const { container } = render(<SafeText text={`\x1b[31m${'x'.repeat(4096)}`} max={10} still />)
    expect(screen.queryByRole('button')).toBeNull()
    expect(container.textContent).toMatch(/…$/)
    const title = container.querySelector('.safe')?.getAttribute('title') ?? ''
    expect(title.startsWith('␛[31mxxx')).toBe(true)
    expect(title.length).toBeLessThanOrEqual(1010)
  })

  test.each([null, undefined, ''])('nothing is nothing: %s', (text) => {
    const { container } = render(<SafeText text={text} />)
    expect(container.textContent).toBe('')
  })
})
