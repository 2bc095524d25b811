using System.Collections.Generic;
using System.Text;
using XenDM.Core.Hypervisor;

namespace XenDM.Monitor.Gdb;

/// <summary>The registers of a target as GDB wants to be told (GDB manual, appendix "Target Descriptions").</summary>
internal static class TargetDescription
{
    /// <summary>Types that GDB does not know by itself.</summary>
    private static readonly Dictionary<string, string> s_types = new()
    {
        ["i386_eflags"] = Flags("i386_eflags", [("CF", 0), ("", 1), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11), ("NT", 14), ("RF", 16), ("VM", 17), ("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21)]),
        ["i386_mxcsr"] = Flags("i386_mxcsr", [("IE", 0), ("DE", 1), ("ZE", 2), ("OE", 3), ("UE", 4), ("PE", 5), ("DAZ", 6), ("IM", 7), ("DM", 8), ("ZM", 9), ("OM", 10), ("UM", 11), ("PM", 12), ("FZ", 15)]),
        ["vec128"] = """
            <vector id="v4f" type="ieee_single" count="4"/>
            <vector id="v2d" type="ieee_double" count="2"/>
            <vector id="v16i8" type="int8" count="16"/>
            <vector id="v8i16" type="int16" count="8"/>
            <vector id="v4i32" type="int32" count="4"/>
            <vector id="v2i64" type="int64" count="2"/>
            <union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>

            """,
    };

    /// <summary>ASCII text, without the characters that a packet would have to escape.</summary>
    public static byte[] Make(IDebugTarget target)
    {
        var text = new StringBuilder("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n");
        text.Append($"<architecture>{target.Architecture}</architecture>\n");
        var features = new List<string>();
        foreach (var register in target.Registers)
            if (!features.Contains(register.Feature)) features.Add(register.Feature);
        foreach (var feature in features) AddFeature(text, target.Registers, feature);
        return Encoding.ASCII.GetBytes(text.Append("</target>\n").ToString());
    }

    private static void AddFeature(StringBuilder text, IReadOnlyList<DebugRegister> registers, string feature)
    {
        text.Append($"<feature name=\"{feature}\">\n");
        var defined = new HashSet<string>();
        for (var n = 0; n < registers.Count; n++)
        {
            var register = registers[n];
            if (register.Feature != feature) continue;
            if (s_types.TryGetValue(register.Type, out var type) && defined.Add(register.Type)) text.Append(type);
            var group = register.Group is null ? "" : $" group=\"{register.Group}\"";
            text.Append($"<reg name=\"{register.Name}\" bitsize=\"{register.Bytes * 8}\" type=\"{register.Type}\" regnum=\"{n}\"{group}/>\n");
        }

        text.Append("</feature>\n");
    }

    private static string Flags(string id, (string Name, int Bit)[] bits)
    {
        var text = new StringBuilder($"<flags id=\"{id}\" size=\"4\">");
        foreach (var (name, bit) in bits) text.Append($"<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>");
        return text.Append("</flags>\n").ToString();
    }
}
