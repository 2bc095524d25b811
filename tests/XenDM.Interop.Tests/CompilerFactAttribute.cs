using System.IO;

namespace XenDM.Interop.Tests;

/// <summary>A test that needs a C compiler, and the given header; skipped with the reason where one is missing.</summary>
public sealed class CompilerFactAttribute : FactAttribute
{
    public const string Compiler = "/usr/bin/cc";

    public CompilerFactAttribute(string header = "")
    {
        if (!File.Exists(Compiler)) Skip = $"no C compiler at {Compiler}: layouts are NOT checked";
        else if (header.Length > 0 && !File.Exists(Path.Combine("/usr/include", header)))
            Skip = $"/usr/include/{header} is not installed: layouts are NOT checked";
    }
}
