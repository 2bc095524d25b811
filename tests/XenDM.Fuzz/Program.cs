using System;
using System.Diagnostics;
using System.Globalization;
using XenDM.Fuzz;

// XenDM.Fuzz [--steps N] [--seed N] [--minutes N]: a guest that does anything, on the whole board.
long steps = 1_000_000;
var seed = 1;
var minutes = 0;
for (var i = 0; i + 1 < args.Length; i += 2)
{
    var value = args[i + 1];
    switch (args[i])
    {
        case "--steps": steps = long.Parse(value, CultureInfo.InvariantCulture); break;
        case "--seed": seed = int.Parse(value, CultureInfo.InvariantCulture); break;
        case "--minutes": minutes = int.Parse(value, CultureInfo.InvariantCulture); break;
        default:
            Console.Error.WriteLine($"unknown option {args[i]}");
            return 1;
    }
}

var until = Stopwatch.StartNew();
do
{
    if (!FuzzRun.Run(seed, steps)) return 1;
    seed++;
}
while (until.Elapsed.TotalMinutes < minutes);
return 0;
