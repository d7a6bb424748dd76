import js from '@eslint/js'
import a11y from 'eslint-plugin-jsx-a11y'
import hooks from 'eslint-plugin-react-hooks'
import ts from 'typescript-eslint'

export default ts.config(
  { ignores: ['dist', 'node_modules', 'src/api/openapi.ts'] },
  js.configs.recommended,
  ...ts.configs.strictTypeChecked,
  a11y.flatConfigs.strict,
  hooks.configs.flat['recommended-latest'],
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Device names and log lines are hostile: text goes through React or SafeText, never as markup.
      'no-restricted-syntax': [
        'error',
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: 'text is never markup here' },
        { selector: "MemberExpression[property.name='innerHTML']", message: 'text is never markup here' },
      ],
      'no-restricted-globals': [
        'error',
        { name: 'localStorage', message: 'only src/app/settings.ts keeps anything, and never a token' },
        { name: 'sessionStorage', message: 'only src/app/settings.ts keeps anything, and never a token' },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-definitions': 'off',
      // A list or a grid that takes the keyboard as a whole: the row is named by aria-activedescendant.
      'jsx-a11y/no-noninteractive-tabindex': ['error', { roles: ['grid', 'region', 'log', 'tabpanel'], tags: [] }],
    },
  },
  { files: ['src/app/settings.ts'], rules: { 'no-restricted-globals': 'off' } },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [ts.configs.disableTypeChecked],
    languageOptions: {
      parserOptions: { projectService: false },
      globals: { console: 'readonly', process: 'readonly', URL: 'readonly' },
    },
  },
  {
    // Part runs in Node, part is handed to a page: it looks at what the page keeps.
    files: ['e2e/**/*.mjs'],
    languageOptions: {
      globals: Object.fromEntries(
        ['AbortController', 'Buffer', 'WritableStream', 'addEventListener', 'document', 'fetch', 'localStorage', 'location', 'performance', 'requestAnimationFrame', 'sessionStorage', 'setTimeout', 'window'].map(
          (name) => [name, 'readonly'],
        ),
      ),
    },
    rules: { 'no-restricted-globals': 'off' },
  },
)
