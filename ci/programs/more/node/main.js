// Hundreds of modules, links, children, workers, and a write that is refused.
const chunk = require('lodash').chunk, express = require('express'), typescript = require('typescript');
const fs = require('fs'), children = require('child_process'), { Worker } = require('worker_threads');

console.log(chunk([1, 2, 3, 4], 2), typeof express, typescript.version.split('.')[0]);
console.log(Object.keys(require.cache).length > 50, __filename, process.execPath);
fs.promises.readdir(__dirname).then(names => console.log(names.sort().join()));
console.log(fs.realpathSync(__filename), fs.statSync(__filename).size, fs.existsSync(__dirname + '/none'));
console.log(children.execFileSync(process.execPath, ['-p', 'process.cwd()'], { cwd: __dirname }).toString());
try {
    fs.writeFileSync(__dirname + '/new', 'x');
} catch (refused) {
    console.log(refused.code);
}
const script = `require('worker_threads').parentPort.postMessage(require('fs').readFileSync(${JSON.stringify(__filename)}).length)`;
new Worker(script, { eval: true }).on('message', length => console.log('worker', length));
