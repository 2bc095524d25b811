using System.Collections.Generic;
using System.Reflection;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests;

public sealed class EntryPointTests
{
    /// <summary>Every function that is imported, found in the library as installed. Libraries of Xen and of user-mode NAT that are not installed are passed over.</summary>
    [Fact]
    public void EveryImportedFunction_IsInItsLibrary()
    {
        var missing = new List<string>();
        var found = 0;
        foreach (var type in typeof(Posix).Assembly.GetTypes())
        {
            foreach (var method in type.GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
            {
                if (method.GetCustomAttribute<DllImportAttribute>() is not { } import) continue;
                if (!NativeLibrary.TryLoad(import.Value, out var library))
                {
                    Assert.True(import.Value.StartsWith("libxen", System.StringComparison.Ordinal) || import.Value is "libslirp.so.0" or "libglib-2.0.so.0", import.Value);
                    continue;
                }

                found++;
                if (!NativeLibrary.TryGetExport(library, import.EntryPoint!, out _)) missing.Add($"{import.Value}: {import.EntryPoint}");
            }
        }

        Assert.Empty(missing);
        Assert.True(found > 60, $"only {found} imports were seen");
    }
}
