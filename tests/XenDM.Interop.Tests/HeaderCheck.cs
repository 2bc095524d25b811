using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Text;

namespace XenDM.Interop.Tests;

/// <summary>Has the C compiler work out expressions of headers and compares them with our numbers.</summary>
internal sealed class HeaderCheck(string preamble)
{
    private readonly List<(string Expression, long Expected)> _checks = [];

    public void Value(string expression, long expected) => _checks.Add((expression, expected));

    public void Size(string type, int expected) => Value($"sizeof({type})", expected);

    /// <summary>Where a field is, in C's words and in bytes.</summary>
    public void Offset(string type, string field, int expected) => Value($"__builtin_offsetof({type}, {field})", expected);

    public void Verify()
    {
        var folder = Directory.CreateTempSubdirectory("xendm-headers-").FullName;
        try
        {
            var source = new StringBuilder("#define _GNU_SOURCE\n#include <stdio.h>\n").AppendLine(preamble).AppendLine("int main(void) {");
            foreach (var check in _checks) source.Append("printf(\"%lld\\n\", (long long)(").Append(check.Expression).AppendLine("));");
            File.WriteAllText(Path.Combine(folder, "check.c"), source.AppendLine("return 0; }").ToString());
            Run(folder, CompilerFactAttribute.Compiler, "-O0 -w -o check check.c");
            var lines = Run(folder, Path.Combine(folder, "check"), "").Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.Equal(_checks.Count, lines.Length);
            var wrong = new List<string>();
            for (var i = 0; i < lines.Length; i++)
            {
                var actual = long.Parse(lines[i], CultureInfo.InvariantCulture);
                if (actual != _checks[i].Expected) wrong.Add($"{_checks[i].Expression}: C says {actual}, XenDM says {_checks[i].Expected}");
            }

            Assert.True(wrong.Count == 0, string.Join("; ", wrong));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Run(string folder, string program, string arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {arguments}: {errors.Result}");
        return output;
    }
}
