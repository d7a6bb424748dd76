import { describe, expect, it } from 'vitest'
import { goals, nameSelector, pageGoals } from './jump'

describe('the jump box', () => {
  it.each([
    ['t-1m8k', ['/tasks/t-1m8k']],
    ['run/r-1m8k', ['/runs/r-1m8k']],
    ['kind=ssh, rack in (r1)', ['/targets?selector=kind%3Dssh%2C%20rack%20in%20(r1)']],
    ['bmc-1', []],
    ['', []],
    ['<script>', ['/targets?selector=%3Cscript%3E']],
  ])('%s', (text, paths) => {
    expect(goals(text).map((goal) => goal.path)).toEqual(paths)
  })

  it.each([
    ['BMC-1', 'name~*bmc-1*'],
    ['target/a', 'name~*a*'],
    ['a b', undefined],
    ['', undefined],
  ])('names like %s', (text, selector) => {
    expect(nameSelector(text)).toBe(selector)
  })

  it('finds pages by the beginning of their name', () => {
    const pages = [
      { title: 'Tasks', path: '/tasks' },
      { title: 'Targets', path: '/targets' },
    ]
    expect(pageGoals('tas', pages).map((goal) => goal.path)).toEqual(['/tasks'])
    expect(pageGoals('T', pages).length).toBe(2)
    expect(pageGoals(' ', pages)).toEqual([])
  })
})
